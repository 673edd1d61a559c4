import pytest

from vlmad_core.cli.detector import Choice, build
from vlmad_core.errors import NotFittedError


def test_the_command_line_refuses_to_judge_with_what_learned_nothing():
    with pytest.raises(NotFittedError, match=r"learned nothing yet. Train it with `vlmad train`.*--detector DIR"):
        build(Choice(recipe="april-gan", backbone="pocket"), print)
