"""Reproduction of Le et al., "Spin-chain model of a many-body quantum battery", PRA 97, 022106 (2018).

``reproduce`` writes everything. Each figure is a function that computes a table and one that draws it.
"""

from jaxbatt.paper.claims import Check as Check
from jaxbatt.paper.claims import Claim as Claim
from jaxbatt.paper.drawings import draw_fig2 as draw_fig2
from jaxbatt.paper.drawings import draw_fig3 as draw_fig3
from jaxbatt.paper.drawings import draw_fig4 as draw_fig4
from jaxbatt.paper.drawings import draw_fig5 as draw_fig5
from jaxbatt.paper.drawings import draw_fig6 as draw_fig6
from jaxbatt.paper.figures import fig2 as fig2
from jaxbatt.paper.figures import fig3 as fig3
from jaxbatt.paper.figures import fig4 as fig4
from jaxbatt.paper.figures import fig4_stops as fig4_stops
from jaxbatt.paper.figures import fig5 as fig5
from jaxbatt.paper.figures import fig6 as fig6
from jaxbatt.paper.reproduction import FIGURES as FIGURES
from jaxbatt.paper.reproduction import TARGETS as TARGETS
from jaxbatt.paper.reproduction import Outcome as Outcome
from jaxbatt.paper.reproduction import judge_claims as judge_claims
from jaxbatt.paper.reproduction import reproduce as reproduce
from jaxbatt.paper.tables import Table as Table
from jaxbatt.paper.tables import write_csv as write_csv
from jaxbatt.paper.tables import write_png as write_png
