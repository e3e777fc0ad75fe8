"""How fast does a review queue over a million decisions answer? Fills a database and times what pages ask.

    flock /tmp/heavy.lock python tests/bench/review_queue.py [--decisions 1000000] [--url postgresql://…]

Invented texts from a seeded grammar, an item for every 2.5 decisions, straight into the tables; then every question is
asked through the store, audit row included, a few hundred times in turn.
"""

import argparse
import json
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

from sqlalchemy import insert

from spamguard.review import search, texts
from spamguard.review.intake import priority_of
from spamguard.review.tables import decisions, items
from spamguard.review.values import Filters, Label, Status, Why
from tests.reviewing import copy_of, open_desk, staff

COPIES_PER_ITEM: Final = 2.5
ROUNDS: Final = 40
CHUNK: Final = 5000
_WORDS: Final = (  # noqa: SIM905 - a list of words is easier to read so
    "贷款 发票 彩票 优惠 会员 客服 领取 点击 登录 账户 验证 快递 开户 投资 理财 兼职 日结 折扣 大促 退订 课程 "
    "报名 名额 房源 首付 医院 体检 保险 续费 积分 兑换 红包 奖金 公证 冻结 异常 退款 订单 物流 取件 社区 通知 "
    "会议 学校 老师 家长 account verify bonus win prize click offer sale loan code delivery parcel invoice casino "
    "stock profit free urgent"
).split()


def fill(desk: Any, number: int) -> None:
    """Write that many decisions, two fifths as many items."""
    dice = random.Random(20261124)
    seq = 0
    made = 0
    while made < number:
        rows, copies, words = [], [], []
        for _ in range(CHUNK):
            seq += 1
            text = "".join(dice.choices(_WORDS, k=dice.randrange(8, 22))) + str(dice.randrange(10**6))
            score = dice.random() ** 0.2
            blocked = score > 0.7
            row = {
                "id": f"bench-{seq:016}",
                "status": "open" if dice.random() < 0.9 else "done",
                "version": 1,
                "copies": 1,
                "blocked": int(blocked),
                "released": 0,
                "reported": dice.random() < 0.001,
                "shadow": dice.random() < 0.01,
                "lot": dice.random() < 0.02,
                "skeleton": f"{seq:032x}",
                "text": text,
                "sender_shown": "10690000",
                "tenant": f"tenant-{dice.randrange(20)}",
                "direction": "AO",
                "action": "block" if blocked else "allow",
                "would_be": "block" if blocked else "allow",
                "reason": "spam_score" if blocked else "unsure",
                "guard": None,
                "score": score,
                "ham_cutoff": 0.3,
                "spam_cutoff": 0.7,
                "category": dice.choice(("fraud", "illegal", "gambling", "loan", "marketing", "other")),
                "model": f"m/{dice.randrange(3)}",
                "policy": "standard",
                "clues": "[]",
                "first_ms": 1_795_000_000_000 + seq,
                "last_ms": 1_795_000_000_000 + seq,
                "label": None,
                "label_category": None,
                "decided_ms": None,
                "seq": seq,
            }
            row["copies"] = max(1, int(dice.expovariate(1 / COPIES_PER_ITEM)))
            row["priority"], row["why"] = priority_of(row)
            rows.append(row)
            words.append((seq, text))
            for _ in range(max(1, round(COPIES_PER_ITEM + dice.uniform(-1.5, 1.5)))):
                made += 1
                copies.append(
                    {
                        "decision_id": f"{made:032x}",
                        "item_seq": seq,
                        "message_id": f"m-{made}",
                        "tenant": row["tenant"],
                        "sender_hash": f"1:{dice.randrange(50_000):064x}",
                        "recipient_hash": f"1:{made:064x}",
                        "numbers": None,
                        "decision": "{}",
                        "message": '{"message_id":"m"}',
                        "action": row["action"],
                        "reason": row["reason"],
                        "category": row["category"],
                        "model": row["model"],
                        "score": score,
                        "chance": 0.02 if row["lot"] else None,
                        "received_ms": row["last_ms"],
                        "decided_ms": row["last_ms"],
                        "source": "bench",
                    }
                )
        with desk.database.write() as connection:
            connection.execute(insert(items), rows)
            connection.execute(insert(decisions), copies)
            search.add(connection, words)
    if not desk.database.is_sqlite:
        with desk.database.write() as connection:
            connection.exec_driver_sql(
                "SELECT setval(pg_get_serial_sequence('items', 'seq'), (SELECT max(seq) FROM items))"
            )
        with desk.database.engine.connect() as connection:
            connection.execution_options(isolation_level="AUTOCOMMIT").exec_driver_sql("ANALYZE")
    else:
        with desk.database.engine.connect() as connection:
            connection.exec_driver_sql("ANALYZE")


def timed(ask: Callable[[], Any]) -> dict[str, float]:
    """Return how long a question takes: median, slowest of twenty, slowest, in milliseconds."""
    took = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        ask()
        took.append((time.perf_counter() - began) * 1000)
    took.sort()
    return {
        "p50_ms": round(statistics.median(took), 1),
        "p95_ms": round(took[int(len(took) * 0.95)], 1),
        "worst_ms": round(took[-1], 1),
    }


def main() -> None:
    """Fill, ask, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--decisions", type=int, default=1_000_000)
    parser.add_argument("--url", default="")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        desk = open_desk(arguments.url or f"sqlite:///{folder}/bench.db")
        people = staff(desk)
        rui = people["rui"]
        began = time.perf_counter()
        with patch.object(texts, "normalize", str):  # the words need none, and it would be most of the filling
            fill(desk, arguments.decisions)
        filled_s = round(time.perf_counter() - began)
        size = sum(path.stat().st_size for path in Path(folder).iterdir()) if not arguments.url else None
        page = desk.store.queue(rui)
        deep = page.next
        for _ in range(20):
            deep = desk.store.queue(rui, after=deep, limit=200).next
        ids = iter([item.id for item in desk.store.queue(rui, limit=200).items])
        fresh = iter([copy_of(f"全新的一条短信内容 {number}，与众不同") for number in range(ROUNDS)])
        asked: dict[str, Callable[[], Any]] = {
            "first page": lambda: desk.store.queue(rui),
            "deep page": lambda: desk.store.queue(rui, after=deep),
            "by reason": lambda: desk.store.queue(rui, Filters(why=Why.CUTOFF)),
            "by category": lambda: desk.store.queue(rui, Filters(category="loan")),
            "by category and tenant": lambda: desk.store.queue(rui, Filters(category="loan", tenant="tenant-7")),
            "by tenant, allowed, near cutoff": lambda: desk.store.queue(
                rui,
                Filters(tenant="tenant-7", action="allow", why=Why.CUTOFF),  # type: ignore[arg-type]
            ),
            "last day only": lambda: desk.store.queue(rui, Filters(since_ms=1_795_000_000_000 + 350_000)),
            "everything, newest first": lambda: desk.store.queue(rui, Filters(status=None)),
            "search, frequent word": lambda: desk.store.queue(rui, Filters(query="发票")),
            "search, two words": lambda: desk.store.queue(rui, Filters(query="发票 casino")),
            "search, four words": lambda: desk.store.queue(rui, Filters(query="发票 贷款 彩票 取件")),
            "search, nothing found": lambda: desk.store.queue(rui, Filters(query="蝙蝠")),
            "by sender": lambda: desk.store.queue(rui, Filters(sender="+8613900001234")),
            "counts by reason": lambda: desk.store.why_counts(rui),
            "filter menus": lambda: (desk.store.tenants(), desk.store.models(), desk.store.categories()),
            "one item": lambda: desk.store.item(rui, page.items[0].id),
            "verdict": lambda: desk.store.verdict(rui, next(ids), Label.SPAM),
            "undo": lambda: desk.store.undo(rui),
            "intake of one": lambda: desk.intake.take([next(fresh)]),
            "backlog": desk.store.backlog,
            "disputed": lambda: desk.store.queue(rui, Filters(status=Status.DISPUTED)),
        }
        found = {name: timed(ask) for name, ask in asked.items()}
        print(json.dumps({"filled_s": filled_s, "bytes": size, "decisions": arguments.decisions}))
        for name, times in found.items():
            print(f"{name:<34}" + "".join(f"{key} {value:>8}  " for key, value in times.items()))
        desk.close()


if __name__ == "__main__":
    main()
