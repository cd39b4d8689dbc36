"""The brief without a model: the sentences that matter, chosen by plain rules; the same mails give the same text."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from examples.daily_brief.inbox import Inbox
from examples.daily_brief.message import Message

SENTENCES_PER_THREAD = 2
MOST_PRIORITIES = 6
LONGEST_SENTENCE = 220

_WORD = re.compile(r"[^\W\d_]{3,}")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[\"'(«]?[^\W_])|\n+")
_GREETING = re.compile(
    r"^(hi|hello|hey|dear|ciao|buongiorno|salve|thanks|thank you|grazie|(?:best |kind )?regards|best|cheers|a presto)\b"
    r"[^.?]{0,30}$",
    re.IGNORECASE,
)
_DEADLINE = re.compile(
    r"\b(deadline|due|overdue|expires?|no later than|at the latest|scadenza|entro|"
    r"(?:by|before|until) (?:noon|midday|midnight|today|tonight|tomorrow|end of|close of|the end|"
    r"monday|tuesday|wednesday|thursday|friday|saturday|sunday|\d{1,2}(?:[:.]\d\d|\s?[ap]m|/\d)))\b",
    re.IGNORECASE,
)
_QUESTION = re.compile(r"\?[\"'»)]*$|\b(please (?:confirm|reply|answer|let me know|tell)|mi confermi)\b", re.IGNORECASE)
_COMMON = frozenset(
    re.findall(
        r"\w+",
        """
        the and for that this with you your are was were will would can could has have had not but from they them their
        there here our out all any one about what when which who how its been also just into over than then some more
        please thanks thank hello dear best regards mail get got let may she him her his
        che per con non una uno del della dei delle gli alla dal sono come anche questo questa grazie ciao
        """,
    )
)


@dataclass(frozen=True, slots=True)
class _Sentence:
    text: str
    message: Message
    score: float


def brief(inbox: Inbox, zone: str) -> tuple[str, str]:
    """Subject and text of the brief: deadlines, then questions, then a digest per thread, lists last."""
    day = datetime.fromisoformat(inbox.until).astimezone(ZoneInfo(zone))
    date = f"{day:%A} {day.day} {day:%B}"
    if not inbox.messages:
        return f"Your brief for {date}: no new mail", f"Nothing arrived since {_clock(inbox.since, zone)}."
    letters = [message for message in inbox.messages if not message.bulk]
    sentences = _sentences(letters)
    deadlines = _best([s for s in sentences if _DEADLINE.search(s.text)], MOST_PRIORITIES)
    urgent = {s.text for s in deadlines}
    questions = _best([s for s in sentences if _QUESTION.search(s.text) and s.text not in urgent], MOST_PRIORITIES)
    threads = _threads(inbox.messages)
    count = len(inbox.messages)
    lines = [f"{_many(count, 'mail')} in {_many(len(threads), 'thread')} since {_clock(inbox.since, zone)}."]
    if inbox.omitted:
        lines.append(f"{_many(inbox.omitted, 'older mail')} of the period left out.")
    lines += _priorities("DEADLINES", deadlines) + _priorities("QUESTIONS TO YOU", questions)
    lines += _digest("CONVERSATIONS", [thread for thread in threads if not thread[0].bulk], sentences, zone)
    lists = [thread for thread in threads if thread[0].bulk]
    lines += _digest("LISTS AND NOTICES", lists, _sentences([m for thread in lists for m in thread]), zone)
    counts = [_many(count, "mail")]
    counts += [_many(len(deadlines), "deadline")] if deadlines else []
    counts += [_many(len(questions), "question")] if questions else []
    return f"Your brief for {date}: {', '.join(counts)}", "\n".join(lines)


def _sentences(messages: list[Message]) -> list[_Sentence]:
    """Every sentence with its weight: how often its words occur in all the mails, a little more for the first one."""
    texts = [(message, split(own_words(message.text))) for message in messages]
    frequency: Counter[str] = Counter()
    for message, sentences in texts:
        frequency.update(_words(message.subject))
        for sentence in sentences:
            frequency.update(_words(sentence))
    scored = []
    for message, sentences in texts:
        for position, sentence in enumerate(sentences):
            words = _words(sentence)
            # The root of the length: an average favours two-word sentences, a sum favours the longest.
            weight = sum(frequency[word] for word in words) / max(1, len(words)) ** 0.5
            scored.append(_Sentence(sentence, message, weight * (1.25 if position == 0 else 1.0)))
    return scored


def own_words(text: str) -> str:
    """A mail's text without what it quotes and without its signature."""
    kept: list[str] = []
    for line in text.splitlines():
        if line.strip() in ("--", "-- "):
            break
        if line.startswith(">"):
            # "On Monday Ben wrote:" introduces the quotation, on one line or broken over two.
            while kept and (kept[-1].rstrip().endswith(":") or not kept[-1].strip()):
                kept.pop()
            continue
        kept.append(line)
    return "\n".join(kept)


def split(text: str) -> list[str]:
    """The sentences of `text`, wrapped lines joined, greetings left out, each at most LONGEST_SENTENCE long."""
    paragraphs = [_unwrapped(paragraph) for paragraph in re.split(r"\n\s*\n", text)]
    sentences = []
    for paragraph in paragraphs:
        for piece in _SENTENCE_END.split(paragraph):
            sentence = piece.strip(" -*•\t")
            if len(_WORD.findall(sentence)) < 3 or _GREETING.match(sentence):
                continue
            if len(sentence) > LONGEST_SENTENCE:
                sentence = sentence[:LONGEST_SENTENCE].rsplit(" ", 1)[0] + " …"
            sentences.append(sentence)
    return sentences


def _unwrapped(paragraph: str) -> str:
    """A paragraph whose broken lines are one again; short lines and list items keep their ends."""
    joined = ""
    for line in paragraph.splitlines():
        wrapped = len(joined.rpartition("\n")[2]) > 50 and not re.match(r"\s*([-*•]|\d+[.)])\s", line)
        joined += (" " if wrapped else "\n") + line
    return joined.strip()


def _words(text: str) -> list[str]:
    return [word for word in _WORD.findall(text.lower()) if word not in _COMMON]


def _best(sentences: list[_Sentence], most: int) -> list[_Sentence]:
    """The heaviest sentences without repetitions, in the order in which they were sent."""
    unique = {sentence.text: sentence for sentence in reversed(sentences)}
    heaviest = sorted(unique.values(), key=lambda s: (-s.score, s.message.sent_at, s.text))[:most]
    order = {id(sentence): position for position, sentence in enumerate(sentences)}
    return sorted(heaviest, key=lambda s: order[id(s)])


def _threads(messages: list[Message]) -> list[list[Message]]:
    grouped: dict[str, list[Message]] = {}
    for message in messages:
        grouped.setdefault(message.thread, []).append(message)
    return sorted(grouped.values(), key=lambda thread: thread[-1].sent_at, reverse=True)


def _priorities(title: str, sentences: list[_Sentence]) -> list[str]:
    if not sentences:
        return []
    return ["", title, *(f"- {s.text} [{s.message.sender_name}: {_topic(s.message.subject)}]" for s in sentences)]


def _digest(title: str, threads: list[list[Message]], sentences: list[_Sentence], zone: str) -> list[str]:
    if not threads:
        return []
    lines = ["", title]
    for thread in threads:
        senders = "; ".join(dict.fromkeys(message.sender_name for message in thread))
        number = f"; {len(thread)} mails" if len(thread) > 1 else ""
        lines.append(f"* {_topic(thread[0].subject)} ({senders}{number}; {_clock(thread[-1].sent_at, zone)})")
        ids = {message.id for message in thread}
        chosen = _best([s for s in sentences if s.message.id in ids], SENTENCES_PER_THREAD)
        lines += [f"    {sentence.text}" for sentence in chosen]
        files = [name for message in thread for name in message.attachments]
        if files:
            lines.append(f"    attached: {', '.join(files)}")
    return lines


def _topic(subject: str) -> str:
    return re.sub(r"^((re|r|fwd?|i|aw|wg)\s*:\s*)+", "", subject, flags=re.IGNORECASE) or subject


def _clock(instant: str, zone: str) -> str:
    return f"{datetime.fromisoformat(instant).astimezone(ZoneInfo(zone)):%a %H:%M}"


def _many(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
