"""``python -m examples.daily_brief.sample FOLDER``: write the sample inbox, dated from now."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path

from examples.daily_brief import sample

if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
    sys.exit(__doc__)
mailbox = sample.write(Path(sys.argv[1]), datetime.now(UTC))
print(f"export BRIEF_MAILBOX='{mailbox}' BRIEF_USERS={','.join(sample.users())}")
