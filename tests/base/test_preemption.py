import shlex
from pathlib import Path

from base.preemption import Stopped


def test_the_command_to_resume_can_be_pasted_whatever_the_folder_is_called():
    checkpoint = Path("my runs/it's/last_epoch.pth")
    command = str(Stopped(checkpoint)).partition("resume with: ")[2]
    assert shlex.split(command) == ["python", "train.py", "--resume", str(checkpoint)]
