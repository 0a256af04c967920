"""The commands: functions of the recipes, by the same names and with the same arguments.

A command imports its recipe when it runs, so that `--help` is quick.
"""
