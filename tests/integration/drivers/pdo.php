<?php
// PDO and the pgsql functions of PHP. Arguments: port, database. Prints every answer; ends with "end".
[, $port, $database] = $argv;
set_error_handler(function ($number, $message) { say('warning', $message); return true; });

function say(...$what) {
    echo json_encode($what, JSON_UNESCAPED_UNICODE | JSON_INVALID_UTF8_SUBSTITUTE), "\n";
}

function attempt($name, $do) {
    try {
        say($name, $do());
    } catch (PDOException $e) {
        say($name, 'error', $e->errorInfo);
    }
}

function connect($more = '', $options = []) {
    global $port, $database;
    return new PDO("pgsql:host=127.0.0.1;port=$port;dbname=$database$more", 'postgres', 'x',
                   $options + [PDO::ATTR_ERRMODE => PDO::ERRMODE_EXCEPTION]);
}

function rows($p, $sql, $values = []) {
    $s = $p->prepare($sql);
    $s->execute($values);
    return $s->fetchAll(PDO::FETCH_NUM);
}

$p = connect(";options='-c statement_timeout=60000 -c application_name=php'");
say(rows($p, 'show statement_timeout'), rows($p, 'show application_name'));

// Each prepare is a statement of the protocol, and its end is SQL's DEALLOCATE.
$p->exec('create table t (id serial primary key, a int, b text, c bytea, d timestamptz, e jsonb, f int[], g bool)');
$insert = $p->prepare('insert into t (a, b, c, d, e, f, g) values (?, ?, ?, ?, ?, ?, ?) returning id');
for ($i = 0; $i < 5; $i++) {
    $insert->bindValue(1, $i, PDO::PARAM_INT);
    $insert->bindValue(2, "x'\\$i é");
    $insert->bindValue(3, "\0\x01\xff\\$i", PDO::PARAM_LOB);
    $insert->bindValue(4, '2026-01-02 03:04:05+02');
    $insert->bindValue(5, '{"a": [1, 2]}');
    $insert->bindValue(6, '{1,2,NULL}');
    $insert->bindValue(7, $i % 2 == 0, PDO::PARAM_BOOL);
    $p->beginTransaction();  // currval() is what one link knows
    $insert->execute();
    say($insert->fetchAll(PDO::FETCH_ASSOC), $p->lastInsertId('t_id_seq'));
    $p->commit();
}
foreach ($p->query('select * from t order by id', PDO::FETCH_ASSOC) as $row) {
    say(bin2hex(stream_get_contents($row['c'])), array_diff_key($row, ['c' => 0]));
}
for ($i = 0; $i < 30; $i++) say(rows($p, "select $i + ?::int", [$i]));
$insert = null;

// Errors within a transaction, and what they leave of prepared statements.
$p->beginTransaction();
$p->exec('insert into t (a) values (100)');
$p->exec('savepoint s');
attempt('twice', fn() => $p->exec('insert into t (id) values (1)'));
attempt('failed', fn() => rows($p, 'select ?::int', [1]));
$p->exec('rollback to s');
say(rows($p, 'select count(*) from t'));
$p->rollBack();
$p->beginTransaction();
$kept = $p->prepare('select a from t where id = ?');
$kept->execute([2]);
$gone = $p->prepare('select b from t where id = ?');
$gone->execute([2]);
attempt('zero', fn() => $p->query('select 1 / 0'));
$gone = null;
$p->rollBack();
$kept->execute([3]);
say($kept->fetchColumn(), $p->inTransaction());
$p->beginTransaction();
attempt('zero', fn() => $p->query('select 1 / 0'));
attempt('commit', fn() => $p->commit());
say($p->inTransaction());
foreach ([PDO::ATTR_EMULATE_PREPARES, PDO::PGSQL_ATTR_DISABLE_PREPARES] as $way) {
    say(rows(connect('', [$way => true]), 'select ?::text, ?::int', ["o'b\\c", 5]));
}

// Cursors: of the driver, of SQL, and one that outlives its transaction.
$p->beginTransaction();
$cursor = $p->prepare('select g from generate_series(1, 10) g', [PDO::ATTR_CURSOR => PDO::CURSOR_SCROLL]);
$cursor->execute();
foreach ([[PDO::FETCH_ORI_NEXT, 0], [PDO::FETCH_ORI_LAST, 0], [PDO::FETCH_ORI_PRIOR, 0], [PDO::FETCH_ORI_ABS, 3]] as [$to, $by]) {
    say($cursor->fetch(PDO::FETCH_NUM, $to, $by));
}
$cursor = null;
$p->exec('declare c scroll cursor for select id, a from t order by id');
say(rows($p, 'fetch 2 from c'), rows($p, 'fetch all from c'), $p->exec('move backward 2 in c'), rows($p, 'fetch c'));
$p->commit();
$p->exec('declare held cursor with hold for select id from t order by id');
say(rows($p, 'fetch 2 from held'), rows($p, 'fetch 2 from held'));
$p->exec('close held');

// COPY, large objects, notifications, two-phase commit.
$p->exec('create table copied (a int, b text)');
say($p->pgsqlCopyFromArray('copied', ["1\tone", "2\t\\N"]), $p->pgsqlCopyToArray('copied'));
attempt('no number', fn() => $p->pgsqlCopyFromArray('copied', ["x\tone"]));
attempt('no table', fn() => $p->pgsqlCopyToArray('nowhere'));
$p->beginTransaction();
$object = $p->pgsqlLOBCreate();
fwrite($p->pgsqlLOBOpen($object, 'w'), str_repeat("abc\0", 50000));
$p->commit();
$p->beginTransaction();
say(md5(stream_get_contents($p->pgsqlLOBOpen($object, 'r'))), $p->pgsqlLOBUnlink($object));
$p->commit();
$p->exec('listen channel');
$p->exec("notify channel, 'mine'");
$heard = $p->pgsqlGetNotify(PDO::FETCH_ASSOC, 60000);
say($heard['message'], $heard['payload'], $heard['pid'] === $p->pgsqlGetPid());
connect()->exec("notify channel, 'another one''s'");
$heard = $p->pgsqlGetNotify(PDO::FETCH_ASSOC, 60000);
say($heard['message'], $heard['payload']);
$p->exec('unlisten *');
$p->exec("begin; insert into t (a) values (777); prepare transaction '$database'");
say(rows($p, 'select count(*) from t where a = 777'), rows($p, 'select 1 from pg_prepared_xacts where gid = ?', [$database]));
$p->exec("commit prepared '$database'");
say(rows($p, 'select count(*) from t where a = 777'));

// Settings and encodings.
$p->exec("set datestyle = 'German'; set timezone = 'Asia/Tokyo'");
say(rows($p, "select '2026-01-02 03:04:05+00'::timestamptz"));
$p->exec('reset all');
say(rows($p, 'show datestyle'), rows($p, 'show timezone'));
$latin = connect(";options='--client_encoding=LATIN1'");
say(bin2hex(rows($latin, "select U&'\\00e9'")[0][0]), rows($latin, 'select ascii(?)', ["\xe9"]));
$latin->exec("set names 'SJIS'");
say(rows($latin, 'select length(?), ascii(?)', ["\x83\x5c", "\x83\x5c"]));
$latin->exec("set names 'UTF8'");
attempt('no character', fn() => $latin->query("select '\xff'"));
$p->exec('begin; set local statement_timeout = 50');
attempt('too long', fn() => $p->query('select pg_sleep(60)'));
$p->exec('rollback');
say(rows($p, 'show statement_timeout'));

// What ends or spoils prepared statements.
foreach (['discard all', 'deallocate all', 'alter table t add column z int', 'alter table t rename to u'] as $spoiler) {
    $spoiled = $p->prepare($spoiler === 'alter table t rename to u' ? 'select z from t where id = ?' : 'select * from t where id = ?');
    $spoiled->execute([1]);
    $p->exec($spoiler);
    try {
        $spoiled->execute([1]);
        say($spoiler, count($spoiled->fetch(PDO::FETCH_NUM)));
    } catch (PDOException $e) {
        say($spoiler, $e->getCode());
    }
    try { $spoiled = null; } catch (PDOException $e) { say($e->getCode()); }
}
attempt('several', fn() => $p->exec("insert into copied values (10, 'm'); select 1 / 0"));
attempt('several prepared', fn() => rows($p, 'select 1; select 2'));
$columns = 'select column_name, data_type, column_default from information_schema.columns where table_name = ? order by ordinal_position';
say(rows($p, $columns, ['u']));

// The pgsql functions: asynchronous queries, names of one's own.
$c = pg_connect("host=127.0.0.1 port=$port dbname=$database user=postgres options='--search_path=pg_catalog,public'", PGSQL_CONNECT_FORCE_NEW);
function told($result) {
    if ($result === false) return say(false, pg_last_error());
    say(pg_result_status($result, PGSQL_STATUS_STRING), pg_affected_rows($result), pg_fetch_all($result), pg_result_error($result));
}
foreach (range(1, 2) as $turn) {
    told(pg_prepare($c, 'mine', 'select $1::int + 1 as n'));
    told(pg_execute($c, 'mine', [$turn]));
    told(pg_prepare($c, 'mine', 'select 2'));
    told(pg_query($c, 'deallocate mine'));
    told(pg_execute($c, 'mine', [1]));
}
told(pg_query($c, 'prepare "S q"(int) as select $1 + 1 as n'));
told(pg_execute($c, 'S q', [4]));
told(pg_query($c, 'deallocate prepare "S q"'));
pg_send_query($c, 'select 1 as a; select 1 / 0; select 3');
while ($result = pg_get_result($c)) told($result);
pg_send_query($c, 'select pg_sleep(60)');
say(pg_cancel_query($c));
while ($result = pg_get_result($c)) say(pg_result_status($result, PGSQL_STATUS_STRING));
told(pg_query($c, 'show search_path'));
say(pg_meta_data($c, 'copied'), pg_insert($c, 'copied', ['a' => 5, 'b' => "it's"]) !== false, pg_select($c, 'copied', ['a' => 5]));
say(pg_transaction_status($c), pg_connection_reset($c), pg_parameter_status($c, 'is_superuser'));
told(pg_query($c, 'show search_path'));
say('end');
