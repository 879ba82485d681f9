// Every built-in type reaches the event without loss: its text is what SELECT col::text gives, and its value keeps all of it.
import { describe, expect, it } from 'vitest'
import { harness } from './harness.js'
import { until } from './recording.js'

const here = harness()

/** Texts of each base type that a column can have. */
const samples: Readonly<Record<string, readonly string[]>> = {
  bool: ['t', 'f'],
  int2: ['-32768', '32767'],
  int4: ['-2147483648', '2147483647'],
  int8: ['-9223372036854775808', '9223372036854775807', '9007199254740993', '0'],
  oid: ['4294967295'],
  float4: ['NaN', 'Infinity', '-Infinity', '1.1', '3.4028235e+38', '-0'],
  float8: ['NaN', 'Infinity', '-Infinity', '0.1', '1.7976931348623157e+308', '5e-324', '-0'],
  numeric: ['NaN', 'Infinity', '-Infinity', '123456789012345678901234567890.123456789', '0.00', '-1e-30'],
  money: ['-92233720368547758.08', '12.34'],
  text: ['', 'äöü 漢字 🎭', 'NULL', 'a\nb\t\\', '"quoted"'],
  varchar: ['x', ''],
  bpchar: ['x  '],
  char: ['x', ''],
  name: ['a name'],
  bytea: ['\\x', '\\x00ff7f'],
  date: ['2026-11-22', 'infinity', '-infinity', '0044-03-15 BC', '5874897-12-31'],
  time: ['00:00:00', '23:59:59.999999', '24:00:00'],
  timetz: ['12:34:56.789+05:30', '00:00:00-15:59:59'],
  timestamp: [
    '2026-11-22 01:02:03.000001',
    'infinity',
    '-infinity',
    '0044-03-15 12:00:00 BC',
    '294276-12-31 23:59:59.999999',
  ],
  timestamptz: [
    '2026-11-22 01:02:03.123456+02',
    'infinity',
    '-infinity',
    '4714-11-24 00:00:00+00 BC',
    '294276-12-31 23:59:59.999999+00',
  ],
  interval: ['1 year -2 mons +3 days -04:05:06.789', '0', '-178000000 years'],
  uuid: ['a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'],
  json: ['{"a": 1,  "a": 2, "n": 12345678901234567890}', 'null', '[]', '"\\u0001"'],
  jsonb: ['{"a": [1.50, null, "x"]}', 'null'],
  jsonpath: ['$.a[*] ? (@ > 1)'],
  xml: ['<a b="1">x</a>'],
  inet: ['192.168.0.1/24', '::1'],
  cidr: ['10.0.0.0/8', '2001:db8::/32'],
  macaddr: ['08:00:2b:01:02:03'],
  macaddr8: ['08:00:2b:01:02:03:04:05'],
  bit: ['1'],
  varbit: ['10110', ''],
  point: ['(1.5,-2)'],
  line: ['{1,-1,0}'],
  lseg: ['[(0,0),(1,1)]'],
  box: ['(1,1),(0,0)'],
  path: ['[(0,0),(1,1)]', '((0,0),(1,1))'],
  polygon: ['((0,0),(1,0),(1,1))'],
  circle: ['<(1,2),3>'],
  tsvector: ["'a':1A 'fat''s':2"],
  tsquery: ["'a' & !'b':*"],
  pg_lsn: ['16/B374D848'],
  tid: ['(1,2)'],
  xid: ['4294967295'],
  xid8: ['18446744073709551615'],
  cid: ['7'],
  int2vector: ['1 2 3', ''],
  oidvector: ['1 4294967295'],
  pg_snapshot: ['10:20:10,14'],
  txid_snapshot: ['10:20:10,14'],
  refcursor: ['cursor'],
  regclass: ['pg_class'],
  regcollation: ['"C"'],
  regconfig: ['english'],
  regdictionary: ['simple'],
  regnamespace: ['pg_catalog'],
  regoper: ['pg_catalog.||/'],
  regoperator: ['+(integer,integer)'],
  regproc: ['now'],
  regprocedure: ['abs(numeric)'],
  regrole: ['postgres'],
  regtype: ['integer'],
  aclitem: ['postgres=arwdDxt/postgres'],
  gtsvector: [],
  regdatabase: ['postgres'],
  int4range: ['empty', '[1,10)', '(,5)', '[7,)', '(,)'],
  int8range: ['[9007199254740993,9223372036854775807)'],
  numrange: ['[1.10,2.20]', '(,1]'],
  tsrange: ['["2026-01-01 00:00:00","2026-01-02 00:00:00.000001")', '[-infinity,infinity]'],
  tstzrange: ['["2026-01-01 00:00:00+00",)'],
  daterange: ['[2026-01-01,2026-02-01)', '[-infinity,infinity)'],
  int4multirange: ['{}', '{[1,3),[5,7)}'],
  int8multirange: ['{[1,3)}'],
  nummultirange: ['{[1.5,2]}'],
  tsmultirange: ['{["2026-01-01 00:00:00","2026-01-02 00:00:00")}'],
  tstzmultirange: ['{["2026-01-01 00:00:00+00",)}'],
  datemultirange: ['{[2026-01-01,2026-02-01)}'],
}
/** Types that no column can have a value of. */
const without = new Set([
  'gtsvector',
  'pg_node_tree',
  'pg_ndistinct',
  'pg_dependencies',
  'pg_mcv_list',
  'pg_brin_bloom_summary',
  'pg_brin_minmax_multi_summary',
])

describe('a value', () => {
  it('of every built-in type, alone and in arrays, has the text that SELECT gives', async () => {
    const catalog = await here.db.query<{ name: string }>(
      "SELECT typname AS name FROM pg_type WHERE typnamespace = 'pg_catalog'::regnamespace AND typtype IN ('b', 'r', 'm') AND NOT (typcategory = 'A' AND typname LIKE '\\_%') ORDER BY 1",
    )
    const types = catalog.rows.map((row) => row.name).filter((name) => !without.has(name))
    expect(types.filter((type) => samples[type] === undefined)).toEqual([])

    const columns = types.map((type, index) => ({ type, name: `c${index}`, list: `a${index}`, texts: samples[type]! }))
    const hasArray = new Set(
      (await here.db.query<{ name: string }>('SELECT typname AS name FROM pg_type WHERE typarray <> 0')).rows.map(
        (row) => row.name,
      ),
    )
    const lists = columns.filter((column) => hasArray.has(column.type))
    const quoted = (type: string) => (type === 'char' ? '"char"' : type)
    const ddl = [
      'id int PRIMARY KEY',
      ...columns.map((column) => `${column.name} ${quoted(column.type)}`),
      ...lists.map((column) => `${column.list} ${quoted(column.type)}[]`),
    ]
    const { recording } = await here.start(`CREATE TABLE every (${ddl.join(', ')})`, ['public.every'])
    await here.db.query(
      "SET timezone = 'UTC'; SET datestyle = ISO; SET intervalstyle = postgres; SET xmlbinary = base64",
    )
    const rows = Math.max(...columns.map((column) => column.texts.length))
    for (let row = 0; row < rows; row++) {
      const values: unknown[] = [row]
      for (const column of columns) values.push(column.texts[row] ?? null)
      // The list of a row: NULL, then every text up to the row's own.
      for (const column of lists) {
        values.push(row < column.texts.length ? listOf(column.type, column.texts.slice(0, row + 1)) : null)
      }
      await here.db.query(`INSERT INTO every VALUES (${values.map((_, index) => `$${index + 1}`).join(', ')})`, values)
    }
    await until(() => recording.events.length === rows, 'all rows', recording)

    const names = [...columns.map((column) => column.name), ...lists.map((column) => column.list)]
    const asText = await here.db.query<Record<string, string | null>>(
      `SELECT ${names.map((name) => `${textOf(name, columns)} AS ${name}`).join(', ')} FROM every ORDER BY id`,
    )
    let compared = 0
    for (let row = 0; row < rows; row++) {
      const after = recording.events[row]!.after!
      for (const name of names) {
        expect(after.text(name), `${name} of row ${row}`).toBe(asText.rows[row]![name])
        const value = after.get(name)
        expect(value === null, `${name} of row ${row}`).toBe(asText.rows[row]![name] === null)
        compared++
      }
      expect(() => JSON.stringify(recording.events[row])).not.toThrow()
    }
    expect(compared).toBe(rows * names.length)
  })

  it('keeps numbers beyond 2^53, microseconds, infinity and BC', async () => {
    const { recording } = await here.start(
      'CREATE TABLE exact (id int PRIMARY KEY, i int8, n numeric, t timestamptz, d date, b bytea, j jsonb, f float8)',
      ['public.exact'],
    )
    await here.db.query(
      "INSERT INTO exact VALUES (1, 9007199254740993, 0.10, '2026-11-22 06:00:00.000001+00', '0044-03-15 BC', '\\x00ff', '{\"a\":[1]}', 'NaN'), (2, 1, 'NaN', 'infinity', '-infinity', '', 'null', '-Infinity')",
    )
    await until(() => recording.events.length === 2, 'both rows', recording)
    const [one, two] = recording.events.map((event) => event.after!)
    expect(one!.get('i')).toBe(9007199254740993n)
    expect(one!.get('n')).toBe('0.10')
    expect(one!.get('t')).toBe('2026-11-22T06:00:00.000001Z')
    expect(one!.get('d')).toBe('0044-03-15 BC')
    expect(Buffer.from(one!.get('b') as Uint8Array).toString('hex')).toBe('00ff')
    expect(two!.get('n')).toBe('NaN')
    expect(two!.get('t')).toBe('infinity')
    expect(two!.get('d')).toBe('-infinity')
    expect(two!.get('f')).toBe(Number.NEGATIVE_INFINITY)
  })

  it('of an enum, a domain, a composite, a range and an hstore, in keys, arrays and each other', async () => {
    await here.db.query('CREATE EXTENSION hstore')
    const { recording } = await here.start(
      `CREATE TYPE mood AS ENUM ('sad', 'it''s ok');
       CREATE DOMAIN positive AS int8 CHECK (value > 0);
       CREATE DOMAIN moods AS mood[];
       CREATE TYPE inner_pair AS (a positive, m mood);
       CREATE TYPE outer_pair AS (name text, inner_one inner_pair, list inner_pair[]);
       CREATE TYPE int8r AS RANGE (subtype = int8);
       CREATE TABLE own (k mood, p positive, c outer_pair, m moods, r int8r, rr int8r[], h hstore, hs hstore[], deep int4[][], PRIMARY KEY (k, p))`,
      ['public.own'],
    )
    await here.db.query(
      `INSERT INTO own VALUES ('it''s ok', 9007199254740993,
         ROW('a "name", (b)', ROW(5, 'sad'), ARRAY[ROW(6, NULL)::inner_pair, NULL]), ARRAY['sad', NULL]::moods,
         '[1,5)', ARRAY['empty', '[2,)']::int8r[], 'a=>1, "b c"=>NULL', ARRAY['x=>"y,z"'::hstore], '{{1,2},{3,NULL}}')`,
    )
    await here.db.query('UPDATE own SET r = NULL; DELETE FROM own')
    await until(() => recording.events.length === 3, 'three events', recording)
    const { after, key } = recording.events[0]!
    expect(key!.toObject()).toEqual({ k: "it's ok", p: 9007199254740993n })
    expect(after!.get('c')).toEqual({
      name: 'a "name", (b)',
      inner_one: { a: 5n, m: 'sad' },
      list: [{ a: 6n, m: null }, null],
    })
    expect(after!.get('m')).toEqual(['sad', null])
    expect(after!.get('h')).toEqual({ a: '1', 'b c': null })
    expect(after!.get('hs')).toEqual([{ x: 'y,z' }])
    expect(after!.get('deep')).toEqual([
      [1, 2],
      [3, null],
    ])
    expect(JSON.stringify(after!.toJSON().r)).toContain('1')
    expect(new Set(recording.events.map((event) => event.keyHash)).size).toBe(1)
    const types = ['c', 'r', 'rr', 'h', 'hs', 'm', 'deep']
    expect(types.map((name) => after!.get(name)).filter((value) => typeof value === 'string')).toEqual([])
  })
})

/** `::text` is another cast than the output function for a few types: the output function is what is sent. */
function textOf(name: string, columns: readonly { readonly name: string; readonly type: string }[]): string {
  const type = columns.find((column) => column.name === name)?.type
  if (type === 'bool') return `CASE WHEN ${name} IS NULL THEN NULL WHEN ${name} THEN 't' ELSE 'f' END`
  if (type === 'bpchar' || type === 'inet') return `CASE WHEN ${name} IS NOT NULL THEN format('%s', ${name}) END`
  return `${name}::text`
}

/** As an array's text; boxes are the only type whose arrays have another delimiter. */
function listOf(type: string, texts: readonly string[]): string {
  const items = texts.map((text) => `"${text.replace(/[\\"]/g, '\\$&')}"`)
  return `{${['NULL', ...items].join(type === 'box' ? ';' : ',')}}`
}
