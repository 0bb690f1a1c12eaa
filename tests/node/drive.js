// Drives one endpoint with node-postgres and checks every answer. Arguments: port, user, password. Ends with "ok".
const assert = require('assert');
const { Client, Pool } = require('pg');

const [port, user, password] = process.argv.slice(2);
const where = { host: '127.0.0.1', port: Number(port), user, password, database: 'test' };

async function prepared(client) {
  for (let i = 0; i < 50; i++) {
    const named = await client.query({ name: 'sum', text: 'select $1::int + 1 as n, $2::text as t', values: [i, `v${i}`] });
    assert.deepStrictEqual(named.rows, [{ n: i + 1, t: `v${i}` }]);
    const unnamed = await client.query('select $1::int * 2 as n', [i]);
    assert.strictEqual(unnamed.rows[0].n, i * 2);
  }
}

async function errors(client) {
  await assert.rejects(client.query('select 1 / $1::int', [0]), { code: '22012' });
  await assert.rejects(client.query('selekt'), { code: '42601' });
  await client.query('begin');
  await assert.rejects(client.query('select * from no_such_table'), { code: '42P01' });
  await assert.rejects(client.query('select 1'), { code: '25P02' });
  await client.query('rollback');
  assert.strictEqual((await client.query('select 7 as n')).rows[0].n, 7);
}

// Many questions sent before the first answer: answers must come back in order, to their own question.
async function queued(client) {
  const asked = [...Array(300).keys()].map((i) => client.query('select $1::int as n', [i]));
  (await Promise.all(asked)).forEach((r, i) => assert.strictEqual(r.rows[0].n, i));
}

async function pooled() {
  const pool = new Pool({ ...where, max: 8 });
  const asked = [...Array(400).keys()].map((i) => pool.query('select $1::int as n', [i]));
  (await Promise.all(asked)).forEach((r, i) => assert.strictEqual(r.rows[0].n, i));
  await pool.end();
}

async function main() {
  const client = new Client(where);
  await client.connect();
  await prepared(client);
  await errors(client);
  await queued(client);
  await client.query('drop table if exists node_rows');
  await client.query('create table node_rows (a int, b jsonb)');
  await client.query('insert into node_rows select g, $1::jsonb from generate_series(1, 500) g', [{ moo: [1, 2] }]);
  const r = await client.query('select count(*)::int as n, max(b->\'moo\'->>1) as m from node_rows');
  assert.deepStrictEqual(r.rows, [{ n: 500, m: '2' }]);
  await client.end();
  await pooled();
  console.log('ok');
}

main().catch((e) => { console.error(e); process.exit(1); });
