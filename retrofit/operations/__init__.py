"""What a person or a program may ask for: one function a verb.

The command line, the worker, Juju's actions and tests call these. Each takes targets and settings
and returns values; none prints or asks for confirmation. Import them from their modules, where they
are used: some need the OpenStack libraries, which take a second to import.
"""
