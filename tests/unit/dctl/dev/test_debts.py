"""What is owed is on the disk before it is taken, and whose run is still there is known."""

import subprocess
import sys
from pathlib import Path

from dctl.dev import debts
from dctl.dev.debts import Book, Debts
from tests.support.waiting import wait_until

HOLD = """
import sys
from pathlib import Path
from dctl.dev.debts import Book, Debts
book = Book.begin(Path(sys.argv[1]))
book.write(Debts(spec={}, lent={"orders": {}}))
print("begun", flush=True)
sys.stdin.read()
"""


def test_what_was_written_is_read_and_changed(tmp_path: Path) -> None:
    book = Book.begin(tmp_path / "dev")
    book.write(Debts(spec={"a": 1}, up=["nats-1"]))
    book.change(lambda owed: owed.lent.update({"orders": {"ran": []}}))
    owed = book.read()
    assert owed == Debts(spec={"a": 1}, up=["nats-1"], lent={"orders": {"ran": []}})
    book.end()
    assert not (tmp_path / "dev").exists()


def test_a_run_is_there_as_long_as_its_process_and_is_taken_over_afterwards(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "dev"
    own = Book.begin(folder)
    other = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert other.stdout
        assert other.stdout.readline() == "begun\n"
        alive, cut_off = debts.others(folder, own.path)
        assert [book.path for book in alive] != []
        assert cut_off == []
        other.kill()
        other.wait()
        alive, cut_off = wait_until(lambda: debts.others(folder, own.path))
        assert alive == []
        (left,) = cut_off
        owed = left.read()
        assert owed is not None
        assert owed.lent == {"orders": {}}
        left.end()
    finally:
        other.kill()
        other.communicate()
    own.end()
    assert not folder.exists()
