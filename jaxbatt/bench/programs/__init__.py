"""What is measured, each file in a process of its own (see ``timer``). The files of the peers import nothing of jaxbatt."""
