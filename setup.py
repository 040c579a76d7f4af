"""What Beam's ``--setup_file`` builds the package for workers with; all that it holds is in ``pyproject.toml``."""

from setuptools import setup

setup()
