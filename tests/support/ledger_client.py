"""One client of the ledger test: does random things, each marked as its own, and checks every octet that comes back.

An act is a coroutine method `act_*`. It knows what a server must answer; anything else is a Stranger (somebody else's
reply) or a Wrong one (not what belongs to this request). What faults done on purpose may cause is an Excused: the client
then leaves, since it no longer knows where it stands, and another one comes.
"""
import asyncio
import re
import time

from . import wire
from .async_wire import AsyncClient
from .wire import (COPY_DONE, FLUSH, SYNC, bind, close, complete, copy_data, copy_fail, data_row, describe, execute, parse,
                   query, ready, text_column)

MARK = re.compile(rb"<(\d+)\.\d+>")
CANCELED = "57014"
# What a client may be told when its link was killed or its node restarted.
LOST = {"57P01", "57P02", "57P03", "08000", "08006", "08007", "40001"}
# Everything a session could leave on a link; a new one must find none of it. Marks of others are found by receive().
LEFT = ("select coalesce(current_setting('ledger.token', true), ''), coalesce(current_setting('ledger.secret', true), ''), "
        "current_setting('work_mem'), current_setting('statement_timeout'), "
        "(select count(*) from pg_prepared_statements where name !~ '^hg_([0-9a-f]{32}|xid)$'), "
        "(select count(*) from pg_cursors where name <> ''), (select count(*) from pg_listening_channels()), "
        "(select count(*) from pg_locks where pid = pg_backend_pid() and locktype = 'advisory'), "
        "transaction_timestamp() = statement_timestamp(), "
        "pg_my_temp_schema() <> 0 and exists (select from pg_class where relnamespace = pg_my_temp_schema())")
NOTHING_LEFT = ["4MB", "0", "0", "0", "0", "0", "t", "f"]


class Wrong(AssertionError):
    """Not the answer to this request."""


class Stranger(Wrong):
    """Somebody else's: the one thing that must never happen."""


class Excused(Exception):
    """The end of an act that was disturbed on purpose."""


class Book:
    """What all clients together know of their writes: rows that must be there, and rows that may be."""

    def __init__(self):
        self.committed, self.attempted = set(), set()


class LedgerClient(AsyncClient):
    LATE_CANCEL = 10.0   # seconds in which a cancel of ours may still hit
    PATIENCE = 60.0      # seconds in which everything must be answered

    def __init__(self, port, number, chance, book, faults):
        super().__init__(port)
        self.number, self.chance, self.book = number, chance, book
        self.faults = faults       # may links be killed meanwhile?
        self.fuse = None           # octets until this client vanishes
        self.last_cancel = 0.0
        self.status, self.named, self.token, self.asynchronous = "I", {}, "", []
        self.pinned, self.count, self.acts = False, 0, []

    # Marks: those of this act and those kept on purpose are ours.

    def mark(self):
        self.count += 1
        return f"<{self.number}.{self.count}>"

    async def receive(self):
        kind, payload = await super().receive()
        for number in MARK.findall(payload):
            if int(number) != self.number:
                raise Stranger(f"{self} got {kind} {payload[:300]!r}")
        return kind, payload

    def __str__(self):
        return f"client {self.number}, mark {self.count}, acts {' '.join(self.acts[-6:])}"

    # Sending, until the fuse has burnt down.

    def send(self, *messages):
        data = b"".join(messages)
        if self.fuse is not None:
            if len(data) >= self.fuse:
                self.writer.write(data[:self.fuse])
                raise Excused("vanished")
            self.fuse -= len(data)
        self.writer.write(data)

    async def answer(self):
        """The next message that is an answer; notices, parameters and notifications are put aside."""
        while True:
            try:
                kind, payload = await self.receive()
            except wire.Closed as e:
                if self.faults:
                    raise Excused("closed") from None
                raise Wrong(f"{self}: the connection was closed: {e}") from None
            if kind not in "NSA":
                return kind, payload
            self.asynchronous.append((kind, payload))

    def excuse(self, fields):
        """Raises what an unexpected error means."""
        state = fields.get("C", "")
        if state == CANCELED and time.monotonic() - self.last_cancel < self.LATE_CANCEL:
            raise Excused("cancelled")
        if self.faults and state in LOST:
            raise Excused(str(fields))
        raise Wrong(f"{self}: {fields}")

    async def exactly(self, *wanted):
        """These messages and no others; bytes compare whole messages, one letter the kind, two an error's SQLSTATE."""
        got = []
        for want in wanted:
            kind, payload = await self.answer()
            got.append(payload)
            if kind == "E":
                fields = wire.error(payload)
                if isinstance(want, tuple) and fields["C"] == want[1]:
                    continue
                self.excuse(fields)
            if isinstance(want, tuple):
                raise Wrong(f"{self}: got {kind} {payload[:200]!r} instead of error {want[1]}")
            if kind != want if isinstance(want, str) else wire.message(kind, payload) != want:
                raise Wrong(f"{self}: got {kind} {payload[:200]!r} instead of {want!r}")
            if kind == "Z":
                self.status = payload.decode()
        return got

    async def rows(self, sql, status="I"):
        """Rows of one simple query."""
        self.send(query(sql))
        rows = []
        while True:
            kind, payload = await self.answer()
            if kind == "D":
                rows.append(wire.row(payload))
            elif kind == "E":
                self.excuse(wire.error(payload))
            elif kind == "Z":
                self.status = payload.decode()
                if self.status != status:
                    raise Wrong(f"{self}: status {self.status} instead of {status} after {sql}")
                return rows

    async def run(self, sql, tag, status="I"):
        self.send(query(sql))
        await self.exactly(complete(tag), ready(status))

    async def one(self, sql, want, status="I"):
        got = await self.rows(sql, status)
        if got != [[want]]:
            raise Wrong(f"{self}: {sql} gave {got} instead of {want!r}")

    # A life.

    async def live(self, ends):
        """From login to a parting of some kind; `ends` is the time when everybody is to come to an end."""
        names = [name for name in dir(self) if name.startswith("act_")]
        plan = self.chance.choices(names, k=self.chance.randint(1, 25))
        vanishes = self.chance.random() < 0.4
        try:
            await self.perform("login")
            await self.perform("act_nothing_left")
            for name in plan:
                if time.monotonic() > ends:
                    break
                await self.perform(name)
            if vanishes:  # somewhere in its last act
                self.fuse = self.chance.randrange(1, 600)
                await self.perform(self.chance.choice(names))
        except Excused:
            pass
        finally:
            self.go()

    async def perform(self, name):
        self.acts.append(name.removeprefix("act_"))
        try:
            async with asyncio.timeout(self.PATIENCE):
                await (self.arrive() if name == "login" else getattr(self, name)())
        except TimeoutError:
            raise Wrong(f"{self}: no answer within {self.PATIENCE} s") from None
        if self.status != "I":
            raise Wrong(f"{self}: ended at {self.status}")

    async def arrive(self):
        try:
            await self.login(self.excuse, user="ledger", database="test", application_name="ledger")
        except (wire.Closed, OSError) as e:
            if self.faults:
                raise Excused("closed") from None
            raise Wrong(f"{self}: {e}") from None

    def go(self):
        """Leaves, in any way."""
        ways = ["reset", "finish"] if self.fuse is not None or self.status != "I" else ["finish", "terminate", "terminate"]
        self.leave(self.chance.choice(ways))

    # Acts.

    async def act_nothing_left(self):
        """Also in the middle of a life: nothing of anybody else, and of oneself only what is to follow."""
        if self.pinned:
            return
        token, _, *rest = (await self.rows(LEFT))[0]
        if token != self.token or rest != NOTHING_LEFT:
            raise Wrong(f"{self}: found {token!r} {rest} instead of {self.token!r} {NOTHING_LEFT}")

    async def act_simple(self):
        for _ in range(self.chance.randint(1, 5)):
            mark = self.mark()
            self.send(query(f"select '{mark}'"))
            await self.exactly(text_column(), data_row(mark), complete("SELECT 1"), ready())

    async def act_simple_pipelined(self):
        marks = [self.mark() for _ in range(self.chance.randint(2, 20))]
        self.send(*(query(f"select '{mark}'") for mark in marks))
        for mark in marks:
            await self.exactly(text_column(), data_row(mark), complete("SELECT 1"), ready())

    async def act_several_statements(self):
        mark = self.mark()
        good = [text_column(), data_row(mark), complete("SELECT 1")]
        if self.chance.random() < 0.5:
            self.send(query(f"select '{mark}'; select '{mark}'"))
            await self.exactly(*good, *good, ready())
        else:
            self.send(query(f"select '{mark}'; select '{mark}'::int; select 'never'"))
            await self.exactly(*good, ("E", "22P02"), ready())

    def unit(self, mark):
        """One random extended unit without its Sync: messages, answers, and whether it fails."""
        kind = self.chance.choice(("plain", "plain", "described", "named", "syntax", "missing", "late", "rows"))
        if kind == "plain":
            return [parse("select $1::text"), bind(mark), execute()], ["1", "2", data_row(mark), complete("SELECT 1")], False
        if kind == "described":
            return ([parse("select $1::text"), bind(mark), describe(), execute()],
                    ["1", "2", text_column("text"), data_row(mark), complete("SELECT 1")], False)
        if kind == "named" and self.named:
            name, text = self.chance.choice(sorted(self.named.items()))
            return [bind(mark, statement=name), execute()], ["2", data_row(text + mark), complete("SELECT 1")], False
        if kind == "syntax":
            return [parse(f"selekt '{mark}'"), bind(), execute()], [("E", "42601")], True
        if kind == "missing":
            return [bind(mark, statement="nobody's"), execute()], [("E", "26000")], True
        if kind == "late":
            late = parse("select ($1::text || g)::int from generate_series(1, 1) g")
            return [late, bind(mark), execute()], ["1", "2", ("E", "22P02")], True
        count = self.chance.choice((1, 3, 100))
        return ([parse("select $1::text || g from generate_series(1, $2::int) g"), bind(mark, str(count)), execute()],
                ["1", "2", *(data_row(f"{mark}{g}") for g in range(1, count + 1)), complete(f"SELECT {count}")], False)

    async def act_pipeline(self):
        """Units, each with its Sync, some with an error."""
        messages, answers = [], []
        for _ in range(self.chance.randint(1, 12)):
            sent, owed, _ = self.unit(self.mark())
            messages += [*sent, SYNC]
            answers += [*owed, ready()]
        await self.send_in_pieces(messages)
        await self.exactly(*answers)

    async def act_batch(self):
        """Several statements before one Sync: an error skips the rest."""
        messages, answers, failed = [], [], False
        for _ in range(self.chance.randint(2, 8)):
            sent, owed, fails = self.unit(self.mark())
            messages += sent
            answers += [] if failed else owed
            failed = failed or fails
        await self.send_in_pieces([*messages, SYNC])
        await self.exactly(*answers, ready())

    async def act_cut_unit(self):
        """A Flush now and then; the answers are read up to there, or later."""
        failed = False
        waiting = []
        for _ in range(self.chance.randint(2, 6)):
            sent, owed, fails = self.unit(self.mark())
            self.send(*sent, FLUSH)
            waiting += [] if failed else owed
            failed = failed or fails
            if self.chance.random() < 0.6:
                await self.exactly(*waiting)
                waiting = []
        self.send(SYNC)
        await self.exactly(*waiting, ready())

    async def send_in_pieces(self, messages):
        data = b"".join(messages)
        while data:
            piece = self.chance.choice((len(data), len(data), 7, 100, 3000))
            self.send(data[:piece])
            data = data[piece:]
            if data:
                await asyncio.sleep(0)

    async def act_named(self):
        """Prepared statements come, are replaced and go."""
        name = self.chance.choice("abc")
        mark = self.mark()
        messages, answers = [], []
        if name in self.named:
            messages, answers = [close("S", name)], ["3"]
            del self.named[name]
        if self.chance.random() < 0.8:
            # A few texts that all share, and some of one's own.
            text = self.chance.choice(("x", "y", f"own{self.number} "))
            messages += [parse(f"select '{text}' || $1", name), bind(mark, statement=name), execute()]
            answers += ["1", "2", data_row(text + mark), complete("SELECT 1")]
            self.send(*messages, SYNC)
            await self.exactly(*answers, ready())
            self.named[name] = text
            return
        self.send(*messages, SYNC)
        await self.exactly(*answers, ready())

    async def act_sql_prepare(self):
        mark = self.mark()
        self.send(query(f"prepare sql_one as select '{mark}'::text"))
        await self.exactly(complete("PREPARE"), ready())
        for _ in range(self.chance.randint(0, 3)):
            await self.one("execute sql_one", mark)
        await self.run("deallocate sql_one", "DEALLOCATE")

    async def act_portal(self):
        """Rows by portions; the portal lives as long as its transaction."""
        mark, total = self.mark(), self.chance.randint(1, 60)
        await self.run("begin", "BEGIN", "T")
        self.send(parse(f"select '{mark}' || g from generate_series(1, {total}) g"), bind(portal="p"), SYNC)
        await self.exactly("1", "2", ready("T"))
        at = 0
        while at < total and self.chance.random() < 0.9:
            limit = self.chance.randint(1, 30)
            self.send(execute("p", limit), SYNC)
            rows = [data_row(f"{mark}{g}") for g in range(at + 1, min(at + limit, total) + 1)]
            at += limit
            await self.exactly(*rows, "s" if at <= total else complete(f"SELECT {len(rows)}"), ready("T"))
        await self.run("commit", "COMMIT")

    async def act_copy_out(self):
        mark, count = self.mark(), self.chance.choice((0, 1, 50, 2000))
        sql = f"copy (select '{mark}' || g from generate_series(1, {count}) g) to stdout"
        lines = [copy_data(f"{mark}{g}\n") for g in range(1, count + 1)]
        if self.chance.random() < 0.5:
            self.send(query(sql))
            await self.exactly("H", *lines, "c", complete(f"COPY {count}"), ready())
        else:
            self.send(parse(sql), bind(), execute(), SYNC)
            await self.exactly("1", "2", "H", *lines, "c", complete(f"COPY {count}"), ready())

    async def act_copy_in(self):
        mark, count = self.mark(), self.chance.choice((0, 1, 30, 1000))
        extended = self.chance.random() < 0.5
        how = self.chance.choice(("good", "good", "fail", "bad"))
        sql = "copy ledger_rows from stdin"
        await self.run("begin", "BEGIN", "T")
        if extended:
            self.send(parse(sql), bind(), execute(), SYNC)
            await self.exactly("1", "2", "G")
        else:
            self.send(query(sql))
            await self.exactly("G")
        data = b"".join(copy_data(f"{self.number}\t{mark}{g}\n") for g in range(count))
        end = {"good": COPY_DONE, "fail": copy_fail(mark), "bad": copy_data(f"no number\t{mark}\n") + COPY_DONE}[how]
        await self.send_in_pieces([data, end, SYNC if extended else b""])
        if how == "good":
            await self.exactly(complete(f"COPY {count}"), ready("T"))
            await self.one(f"select count(*) || '{mark}' from ledger_rows where client = {self.number} and "
                           f"text like '{mark}%'", f"{count}{mark}", "T")
        else:
            await self.exactly(("E", "57014" if how == "fail" else "22P02"), ready("E"))
        await self.run("rollback", "ROLLBACK")

    async def act_transaction(self):
        mark = self.mark()
        await self.run(self.chance.choice(("begin", "begin isolation level repeatable read", "begin read write")), "BEGIN",
                       "T")
        if self.chance.random() < 0.5:
            await self.one(f"select '{mark}'::text", mark, "T")
        await self.run(f"insert into ledger_rows values ({self.number}, '{mark}')", "INSERT 0 1", "T")
        await self.run("savepoint s", "SAVEPOINT", "T")
        self.send(query(f"select '{mark}'::int"))
        await self.exactly(("E", "22P02"), ready("E"))
        if self.chance.random() < 0.3:
            await self.run("commit", "ROLLBACK")
            await self.one(f"select count(*) || '{mark}' from ledger_rows where text = '{mark}'", f"0{mark}")
            return
        await self.run("rollback to s", "ROLLBACK", "T")
        await self.one(f"select string_agg(text, ',') from ledger_rows where client = {self.number} and text = '{mark}'",
                       mark, "T")
        await self.run("rollback", "ROLLBACK")

    async def act_settings(self):
        """A parameter of one's own follows, and only oneself sees it."""
        if self.token and self.chance.random() < 0.5:
            await self.run("reset ledger.token", "RESET")
            self.token = ""
        else:
            mark = self.mark()
            await self.run(f"set ledger.token = '{mark}'", "SET")
            self.token = mark
        for _ in range(self.chance.randint(1, 4)):
            await self.one("select coalesce(current_setting('ledger.token', true), '')", self.token)
            await asyncio.sleep(0)

    async def act_set_local(self):
        mark = self.mark()
        await self.run("begin", "BEGIN", "T")
        await self.run(f"set local ledger.token = '{mark}'", "SET", "T")
        await self.one("select current_setting('ledger.token')", mark, "T")
        await self.run(*self.chance.choice((("commit", "COMMIT"), ("rollback", "ROLLBACK"))))
        await self.one("select coalesce(current_setting('ledger.token', true), '')", self.token)

    async def act_hidden_state(self):
        """DO sets what nobody can see from outside: another session must not find it."""
        await self.run(f"do $$ begin perform set_config('ledger.secret', '{self.mark()}', false); end $$", "DO")
        await self.run("reset ledger.secret", "RESET")

    async def act_temporary_table(self):
        mark = self.mark()
        await self.run("create temp table left_over (text text)", "CREATE TABLE")
        self.pinned = True
        await self.run(f"insert into left_over values ('{mark}')", "INSERT 0 1")
        await self.one("select text from left_over", mark)
        if self.chance.random() < 0.2:
            raise Excused("leaves it behind")
        await self.run("drop table left_over", "DROP TABLE")
        self.pinned = False

    async def act_listen(self):
        mark, channel = self.mark(), f"channel_{self.number}"
        self.asynchronous.clear()
        await self.run(f"listen {channel}", "LISTEN")
        self.pinned = True
        await self.run(f"notify {channel}, '{mark}'", "NOTIFY")
        await self.one("select 'heard'::text", "heard")
        heard = [p[4:].split(b"\0")[:2] for k, p in self.asynchronous if k == "A"]
        if heard != [[channel.encode(), mark.encode()]]:
            raise Wrong(f"{self}: heard {heard}")
        if self.chance.random() < 0.2:
            raise Excused("leaves it behind")
        await self.run("unlisten *", "UNLISTEN")
        self.pinned = False

    async def act_advisory_lock(self):
        mark = self.mark()
        await self.one(f"select '{mark}' || pg_advisory_lock({self.number})", mark)
        self.pinned = True
        await self.one("select count(*)::text from pg_locks where pid = pg_backend_pid() and locktype = 'advisory'", "1")
        if self.chance.random() < 0.2:
            raise Excused("leaves it behind")
        await self.one("select pg_advisory_unlock_all()", "")
        self.pinned = False

    async def act_statement_timeout(self):
        mark = self.mark()
        await self.run("begin", "BEGIN", "T")
        await self.run("set local statement_timeout = 300", "SET", "T")
        self.send(query(f"select '{mark}' from pg_sleep(30)"))
        if not await self.read_until_ready(mark, "E"):
            raise Wrong(f"{self}: no timeout")
        await self.run("rollback", "ROLLBACK")

    async def act_cancel(self):
        """At any moment: the answer is whole, or says that it was cancelled."""
        mark = self.mark()
        sql = f"select '{mark}' || pg_sleep({self.chance.choice((0, 0.001, 0.01, 30))})"
        self.send(query(sql) if self.chance.random() < 0.5 else parse(sql) + bind() + execute() + SYNC)
        await asyncio.sleep(self.chance.choice((0, 0.001, 0.005, 0.02)))
        done = asyncio.ensure_future(self.read_until_ready(mark))
        try:
            while not done.done():  # one that came too early has hit nothing
                await self.cancel()
                await asyncio.wait([done], timeout=0.3)
            done.result()
        finally:
            done.cancel()

    async def read_until_ready(self, mark, status="I"):
        """One row of one column, or cancelled (then True)."""
        hit = False
        while True:
            kind, payload = await self.answer()
            if kind == "D" and wire.row(payload) != [mark]:
                raise Wrong(f"{self}: got {payload!r}")
            if kind == "E":
                fields = wire.error(payload)
                if fields["C"] != CANCELED:
                    self.excuse(fields)
                hit = True
            if kind == "Z":
                self.status = payload.decode()
                if self.status != status:
                    raise Wrong(f"{self}: status {self.status} instead of {status}")
                return hit

    async def cancel(self):
        self.last_cancel = time.monotonic()
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            writer.write(wire.cancel_request(self.key))
            await reader.read()
            writer.close()
        except OSError:
            pass
        self.last_cancel = time.monotonic()

    async def act_slow_reader(self):
        mark, count = self.mark(), 300
        row = data_row(mark + "x" * 5000)
        self.send(query(f"select '{mark}' || repeat('x', 5000) from generate_series(1, {count})"))
        await self.exactly("T")
        for _ in range(3):
            await asyncio.sleep(self.chance.random() * 0.1)
            await self.exactly(*[row] * (count // 3))
        await self.exactly(complete(f"SELECT {count}"), ready())

    async def act_long_bind(self):
        """Longer than the proxy gathers: streamed through."""
        mark = self.mark()
        long = mark + "y" * self.chance.choice((60_000, 70_000, 300_000))
        self.send(parse("select md5($1::text) || left($1, 20)"), bind(long), execute(), SYNC)
        await self.writer.drain()
        got = await self.exactly("1", "2", "D", complete("SELECT 1"), ready())
        if not wire.row(got[2])[0].endswith(long[:20]):
            raise Wrong(f"{self}: {got[2]!r}")

    async def act_notices(self):
        mark = self.mark()
        self.asynchronous.clear()
        await self.run(f"do $$ begin raise notice '{mark}'; end $$", "DO")
        said = [wire.error(p)["M"] for k, p in self.asynchronous if k == "N"]
        if said != [mark]:
            raise Wrong(f"{self}: notices {said}")

    async def act_write(self):
        """Rows that must be there at the end, once each."""
        mark = self.mark()
        insert = f"insert into ledger_rows values ({self.number}, '{mark}')"
        self.book.attempted.add(mark)
        kind = self.chance.choice(("simple", "extended", "block"))
        if kind == "simple":
            await self.run(insert, "INSERT 0 1")
        elif kind == "extended":
            self.send(parse("insert into ledger_rows values ($1::int, $2)"), bind(str(self.number), mark), execute(), SYNC)
            await self.exactly("1", "2", complete("INSERT 0 1"), ready())
        else:
            await self.run("begin", "BEGIN", "T")
            await self.run(insert, "INSERT 0 1", "T")
            await self.run("commit", "COMMIT")
        self.book.committed.add(mark)

    async def act_pause(self):
        await asyncio.sleep(self.chance.random() * 0.05)
