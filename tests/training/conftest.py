"""What the tests of the training loop share."""

import pytest
from tiny_run import tiny_trainer


@pytest.fixture(scope="session")
def straight(tmp_path_factory):
    """The folder of the tiny run that nothing interrupted."""
    folder = tmp_path_factory.mktemp("straight")
    tiny_trainer(folder).run()
    return folder
