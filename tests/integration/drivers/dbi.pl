# DBI with DBD::Pg. Arguments: port, database. Prints every answer; ends with "end".
use strict;
use warnings;
use utf8;
use DBI;
use DBD::Pg qw(:pg_types :async);
use Data::Dumper;

binmode STDOUT, ':utf8';
$Data::Dumper::Indent   = 0;
$Data::Dumper::Terse    = 1;
$Data::Dumper::Sortkeys = 1;
$Data::Dumper::Useqq    = 1;

my ($port, $database) = @ARGV;
$SIG{__WARN__} = sub { say_('warning', $_[0] =~ s/ at \S+ line \d+.*//sr =~ s/dbdpg_\w+/NAME/r) };

sub connect_ {
    return DBI->connect("dbi:Pg:host=127.0.0.1;port=$port;dbname=$database;options='-c work_mem=6MB -c timezone=Asia/Tokyo'",
        'postgres', 'x', { RaiseError => 1, PrintError => 0, AutoCommit => 1 });
}

sub say_ {
    print join(' ', map { ref $_ ? Dumper($_) : defined $_ ? $_ : 'undef' } @_), "\n";
}

sub attempt {
    my ($name, $do) = @_;
    my @got = eval { $do->() };
    my ($first) = split /\n/, $@;
    say_($name, $@ ? ('error', $DBI::state, $first =~ s/ at \S+ line \d+.*//r =~ s/dbdpg_\w+/NAME/r) : @got);
}

my $h = connect_();
say_($h->selectrow_array('show work_mem'), $h->selectrow_array('show timezone'), $h->{pg_server_version}, $h->ping);
$h->do('create table t (id serial primary key, a int, b text, c bytea, d timestamptz, e json, f int[], g boolean)');
my $insert = $h->prepare('insert into t (a, b, c, d, e, f, g) values (?, ?, ?, ?, ?, ?, ?) returning id');
for my $i (1 .. 5) {
    $insert->bind_param(3, undef, { pg_type => PG_BYTEA });
    $insert->execute($i, "é'\\$i", "\0\xff\\$i", '2026-01-02 03:04:05+00', '{"a":1}', [1, undef, 3], $i % 2);
    say_($insert->fetchrow_array);
}
say_($h->selectall_arrayref('select * from t order by id'));

# Statements prepared now or later, by the server or not, with all kinds of placeholders; what goes out of scope is ended
# by SQL's DEALLOCATE.
for my $now (0, 1) {
    for my $server (0, 1) {
        my $s = $h->prepare('select ?::int + 1', { pg_prepare_now => $now, pg_server_prepare => $server });
        for my $i (1 .. 3) { $s->execute($i); say_($s->fetchrow_array) }
    }
}
attempt('dollars', sub { $h->selectrow_array('select $1::int, $2::text, $1::int', undef, 4, 'x') });
attempt('names', sub { my $s = $h->prepare('select :foo::int'); $s->bind_param(':foo', 4); $s->execute; $s->fetchrow_array });
say_(map { my $s = $h->prepare("select ?::int + $_"); $s->execute(1); $s->execute(2); $s->fetchrow_array } 1 .. 40);
my $kept = $h->prepare('select a, b from t where a > ? order by 1');
$kept->execute(2);
say_($kept->fetchall_arrayref, $kept->{NAME}, $kept->{pg_type}, $kept->{NUM_OF_PARAMS});

# Transactions. A statement goes out of scope in a failed one.
$h->begin_work;
{
    my $s = $h->prepare('select ?::int + 5');
    $s->execute($_), say_($s->fetchrow_array) for 1, 2;
    attempt('zero', sub { $h->do('select 1 / 0') });
}
say_('ping', $h->ping);
$h->rollback;
$h->begin_work;
$h->do('insert into t (a) values (99)');
$h->pg_savepoint('s');
attempt('no column', sub { $h->do('select nowhere') });
attempt('failed', sub { $h->selectrow_array('select ?::int', undef, 3) });
$h->pg_rollback_to('s');
say_($h->selectrow_array('select count(*) from t'));
$h->rollback;
{
    local $h->{AutoCommit} = 0;
    $h->do('insert into t (a) values (98)');
    $h->commit;
    $h->do('insert into t (a) values (97)');
    $h->rollback;
    say_($h->selectrow_array('select count(*) from t'));
    $h->commit;
    $h->{ReadOnly} = 1;
    attempt('read only', sub { $h->do('insert into t (a) values (96)') });
    $h->rollback;
    $h->{ReadOnly} = 0;
}
say_($h->selectrow_array('show transaction_read_only'));

# COPY, queries without waiting, cursors, large objects, notifications.
$h->do('create table copied (a int, b text)');
$h->do('copy copied from stdin');
$h->pg_putcopydata("$_\trow$_\n") for 1 .. 500;
say_($h->pg_putcopyend);
$h->do('copy (select * from copied where a < 5 order by a) to stdout');
my $line = '';
say_($line) while $h->pg_getcopydata(\$line) >= 0;
$h->do('copy copied from stdin');
$h->pg_putcopydata("x\ty\n");
attempt('no number', sub { $h->pg_putcopyend });
say_($h->selectrow_array('select count(*) from copied'));
my $later = $h->prepare('select ?::int * 2', { pg_async => PG_ASYNC });
$later->execute(21);
say_($h->pg_result, $later->fetchrow_array);
# A cancel ahead of its statement would be nobody's: the server says first that it runs.
my $runs = 0;
{
    local $SIG{__WARN__} = sub { $runs = 1 };
    local $h->{PrintWarn} = 1;
    $h->do(q{do $$ begin raise notice 'runs'; perform pg_sleep(60); end $$}, { pg_async => PG_ASYNC });
    until ($runs || $h->pg_ready) { select(undef, undef, undef, 0.01) }
}
say_('cancelled', $runs, $h->pg_cancel, $h->selectrow_array('select 9'));
$h->begin_work;
$h->do('declare c scroll cursor for select g from generate_series(1, 20) g');
say_($h->selectcol_arrayref('fetch 3 from c'), $h->selectcol_arrayref('fetch backward 2 from c'), $h->do('move absolute 10 in c'),
    $h->selectcol_arrayref('fetch next from c'));
my $object = $h->pg_lo_creat($h->{pg_INV_WRITE} | $h->{pg_INV_READ});
my $open = $h->pg_lo_open($object, $h->{pg_INV_WRITE} | $h->{pg_INV_READ});
my $read = '';
say_($h->pg_lo_write($open, 'x' x 70000, 70000), $h->pg_lo_lseek($open, 10, 0), $h->pg_lo_read($open, $read, 5), $read,
    $h->pg_lo_close($open), $h->pg_lo_unlink($object));
$h->commit;
$h->do('listen foo');
$h->do("notify foo, 'mine'");
my $heard = $h->pg_notifies;
say_($heard->[0], $heard->[2], $heard->[1] == $h->{pg_pid} ? 'own' : 'of another');
$h->do('unlisten foo');

# What there is, what was wrong, what ends prepared statements.
say_([map { $_->[2] } @{ $h->table_info('', 'public', '%', 'TABLE')->fetchall_arrayref }], $h->primary_key(undef, 'public', 't'));
say_([map { [@$_[3, 4, 5, 6, 12, 16]] } @{ $h->column_info(undef, 'public', 't', '%')->fetchall_arrayref }]);
attempt('twice', sub { $h->do('insert into t (id) values (1)') });
say_(map { $h->pg_error_field($_) } qw(state severity schema table constraint message_detail));
$h->do("set client_encoding = 'LATIN1'");
say_($h->selectrow_array("select length('\xe9')"));
$h->do('reset client_encoding');
say_($h->selectrow_array('select length(?)', undef, 'é€'));
$h->do('set standard_conforming_strings = off');
say_($h->quote('a\\b'), $h->selectrow_array('select ' . $h->quote('a\\b') . ', ?', undef, 'q\\'));
$h->do('reset standard_conforming_strings');
attempt('too long', sub { $h->do('set statement_timeout = 50'); $h->do('select pg_sleep(60)') });
$h->do('discard all');
attempt('discarded', sub { $kept->execute(1) });
say_($h->selectrow_array('select ?::int', undef, 3));
attempt('several', sub { $h->do('select 1; insert into copied values (1000)') });
attempt('array', sub { my $s = $h->prepare('insert into copied values (?, ?)'); $s->execute_array({}, [1 .. 5], ['a' .. 'e']) });
$h->begin_work;
$h->do('insert into copied values (31, ?)', undef, 'two');
$h->do("prepare transaction '$database'");
$h->rollback;
$h->do("commit prepared '$database'");
say_($h->selectrow_array("select count(*) from copied where b = 'two'"));
undef $kept;
undef $insert;
say_('end');
