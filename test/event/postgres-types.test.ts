import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { Value } from '../../src/event/event.js'
import type { TypeCatalog } from '../../src/event/types.js'
import { changeOf, relationOf, tuple } from './sample-bytes.js'

/** Types that a reader would find in the catalog. */
const types: TypeCatalog = {
  20001: { kind: 'enum' },
  20002: { kind: 'domain', base: 20 },
  20003: {
    kind: 'composite',
    fields: [
      { name: 'street', type: 25 },
      { name: 'number', type: 20_002 },
      { name: 'tags', type: 1009 },
    ],
  },
  20004: { kind: 'array', element: 20_003 },
  20005: { kind: 'hstore' },
  20006: { kind: 'range', subtype: 701 },
  20007: { kind: 'multirange', subtype: 701 },
  20008: { kind: 'domain', base: 20_009 },
  20009: { kind: 'array', element: 20_001 },
  20010: { kind: 'domain', base: 20_010 },
}

function read(
  type: number,
  text: string,
): { readonly value: Value | undefined; readonly text: unknown; readonly json: unknown } {
  const relation = relationOf(
    [
      ['pad', 25],
      ['c', type],
    ],
    [0],
    { types },
  )
  const after = changeOf(relation, 'insert', tuple('N', ['x', text])).after!
  const object = after.toObject()
  const value = after.get('c')
  expect(object.c).toEqual(value)
  return { value, text: after.text('c'), json: (JSON.parse(JSON.stringify(after)) as { c: unknown }).c }
}

const range = (lower: Value, upper: Value, bounds: string) => ({
  lower,
  upper,
  lowerInclusive: bounds[0] === '[',
  upperInclusive: bounds[1] === ']',
  empty: false,
})
const empty = { lower: null, upper: null, lowerInclusive: false, upperInclusive: false, empty: true }

// biome-ignore format: a table
const cases: readonly (readonly [name: string, type: number, text: string, value: Value])[] = [
  ['bool', 16, 't', true], ['bool', 16, 'f', false],
  ['int2', 21, '-32768', -32768], ['int4', 23, '2147483647', 2147483647], ['oid', 26, '4294967295', 4294967295],
  ['int8', 20, '0', 0n], ['int8', 20, '-7', -7n], ['int8', 20, '-9223372036854775808', -9223372036854775808n], ['int8', 20, '999999999999999', 999999999999999n],
  ['xid8', 5069, '18446744073709551615', 18446744073709551615n],
  ['float4', 700, '1.1', 1.1], ['float8', 701, '-1.7976931348623157e+308', -1.7976931348623157e308],
  ['float8', 701, 'NaN', Number.NaN], ['float8', 701, 'Infinity', Infinity], ['float8', 701, '-Infinity', -Infinity], ['float8', 701, '-0', -0],
  ['numeric', 1700, '123456789012345678901234567890.000', '123456789012345678901234567890.000'], ['numeric', 1700, 'NaN', 'NaN'],
  ['money', 790, '-$1,000.00', '-$1,000.00'],
  ['text', 25, 'Größe 𝄞', 'Größe 𝄞'], ['text', 25, '', ''], ['varchar', 1043, 'sixteen bytes 16', 'sixteen bytes 16'], ['bpchar', 1042, 'a   ', 'a   '],
  ['uuid', 2950, 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'],
  ['bytea', 17, '\\x00ff10', new Uint8Array([0, 255, 16])], ['bytea', 17, '\\x', new Uint8Array()], ['bytea escape', 17, 'a\\\\b\\377', new Uint8Array([97, 92, 98, 255])],
  ['json', 114, '{"a": 12345678901234567890}', '{"a": 12345678901234567890}'], ['jsonb', 3802, '[1, 2]', '[1, 2]'],
  ['timestamptz', 1184, '2026-11-22 06:16:57.123456+00', '2026-11-22T06:16:57.123456Z'],
  ['timestamptz', 1184, '2026-11-22 06:16:57+00', '2026-11-22T06:16:57Z'],
  ['timestamptz', 1184, 'infinity', 'infinity'], ['timestamptz', 1184, '-infinity', '-infinity'],
  ['timestamptz', 1184, '0044-03-15 12:00:00+00 BC', '0044-03-15T12:00:00Z BC'],
  ['timestamptz', 1184, '294276-12-31 23:59:59.999999+00', '294276-12-31T23:59:59.999999Z'],
  ['timestamptz of another zone', 1184, '2026-11-22 06:16:57+05:30', '2026-11-22T06:16:57+05:30'],
  ['timestamp', 1114, '2026-11-22 06:16:57.1', '2026-11-22T06:16:57.1'], ['timestamp', 1114, '4713-01-01 00:00:00 BC', '4713-01-01T00:00:00 BC'],
  ['date', 1082, '2026-11-22', '2026-11-22'], ['date', 1082, '0044-03-15 BC', '0044-03-15 BC'], ['date', 1082, 'infinity', 'infinity'],
  ['time', 1083, '24:00:00', '24:00:00'], ['timetz', 1266, '06:16:57.5+02', '06:16:57.5+02'],
  ['interval', 1186, '1 year 2 mons -3 days +04:05:06.789', '1 year 2 mons -3 days +04:05:06.789'],
  ['inet', 869, '10.0.0.1/8', '10.0.0.1/8'], ['macaddr', 829, '08:00:2b:01:02:03', '08:00:2b:01:02:03'],
  ['point', 600, '(1.5,-2)', '(1.5,-2)'], ['bit', 1560, '0101', '0101'], ['pg_lsn', 3220, '16/B374D848', '16/B374D848'],
  ['tsvector', 3614, "'a':1 'cat':2", "'a':1 'cat':2"], ['xml', 142, '<a/>', '<a/>'],
  ['int2vector', 22, '1 2 3', [1, 2, 3]], ['oidvector', 30, '', []],
  ['int4[]', 1007, '{1,NULL,-3}', [1, null, -3]], ['int4[]', 1007, '{}', []], ['int8[]', 1016, '{{1,2},{3,4}}', [[1n, 2n], [3n, 4n]]],
  ['int4[]', 1007, '{{{1},{2}},{{3},{4}}}', [[[1], [2]], [[3], [4]]]],
  ['int4[] with bounds', 1007, '[0:2]={1,2,3}', { lower: [0], items: [1, 2, 3] }],
  ['int4[][] with bounds', 1007, '[-1:0][2:3]={{1,2},{3,4}}', { lower: [-1, 2], items: [[1, 2], [3, 4]] }],
  ['text[]', 1009, '{a,"b c","NULL",NULL,"q\\"uo\\\\te","",ü,"{x}","a,b"}', ['a', 'b c', 'NULL', null, 'q"uo\\te', '', 'ü', '{x}', 'a,b']],
  ['bool[]', 1000, '{t,f,NULL}', [true, false, null]], ['bytea[]', 1001, '{"\\\\x01","\\\\x"}', [new Uint8Array([1]), new Uint8Array()]],
  ['timestamptz[]', 1185, '{"2026-11-22 06:16:57+00",infinity}', ['2026-11-22T06:16:57Z', 'infinity']],
  ['box[]', 1020, '{(3,4),(1,2);(5,6),(3,4)}', ['(3,4),(1,2)', '(5,6),(3,4)']],
  ['jsonb[]', 3807, '{"{\\"a\\": 1}",null}', ['{"a": 1}', 'null']],
  ['int4range', 3904, '[1,10)', range(1, 10, '[)')], ['int4range', 3904, 'empty', empty], ['int8range', 3926, '(,5)', range(null, 5n, '()')],
  ['numrange', 3906, '[1.50,)', range('1.50', null, '[)')], ['daterange', 3912, '[2026-01-01,infinity]', range('2026-01-01', 'infinity', '[]')],
  ['tstzrange', 3910, '["2026-11-22 06:16:57+00","2026-11-23 00:00:00+00")', range('2026-11-22T06:16:57Z', '2026-11-23T00:00:00Z', '[)')],
  ['int4range[]', 3905, '{"[1,3)",empty}', [range(1, 3, '[)'), empty]],
  ['int4multirange', 4451, '{[1,3),[5,9)}', [range(1, 3, '[)'), range(5, 9, '[)')]], ['int4multirange', 4451, '{}', []],
  ['enum', 20_001, 'sad', 'sad'], ['domain over int8', 20_002, '42', 42n],
  ['composite', 20_003, '("Long ""St""",7,"{a,""b,c""}")', { street: 'Long "St"', number: 7n, tags: ['a', 'b,c'] }],
  ['composite of NULLs', 20_003, '(,,)', { street: null, number: null, tags: null }], ['composite, empty text', 20_003, '("",1,{})', { street: '', number: 1n, tags: [] }],
  ['composite[]', 20_004, '{"(x,1,)","(\\"a b\\",2,{})"}', [{ street: 'x', number: 1n, tags: null }, { street: 'a b', number: 2n, tags: [] }]],
  ['hstore', 20_005, '"a"=>"1", "b"=>NULL, "q\\"k"=>"\\\\"', { a: '1', b: null, 'q"k': '\\' }], ['hstore', 20_005, '', {}],
  ['own range', 20_006, '[-Infinity,1.5]', range(-Infinity, 1.5, '[]')], ['own multirange', 20_007, '{(,1),(2,)}', [range(null, 1, '()'), range(2, null, '()')]],
  ['domain over enum[]', 20_008, '{sad,NULL}', ['sad', null]],
  ['a type that nobody named', 20_099, '(whatever)', '(whatever)'], ['a domain that claims itself', 20_010, 'x', 'x'],
]

describe('a value of PostgreSQL', () => {
  it.each(cases)('of %s (%i): %s', (_, type, text, value) => {
    const result = read(type, text)
    expect(result.value).toEqual(value)
    expect(result.text).toBe(text)
  })

  it.each([
    [20, '9007199254740991', 9007199254740991],
    [20, '9007199254740992', '9007199254740992'],
    [701, 'NaN', 'NaN'],
    [701, '-Infinity', '-Infinity'],
    [17, '\\x00ff', 'AP8='],
    [1001, '{"\\\\x01"}', ['AQ==']],
    [1016, '{1,9007199254740993}', [1, '9007199254740993']],
    [20_005, '"__proto__"=>"1"', JSON.parse('{"__proto__":"1"}')],
    [3802, '{"a": 1.0}', '{"a": 1.0}'],
  ])('of type %i, %s, is JSON without loss', (type, text, json) => {
    expect(read(type, text).json).toEqual(json)
  })

  it.each([
    [1007, '{1,2'],
    [1007, '{1}x'],
    [1007, '1,2'],
    [20_003, '(a'],
    [20_003, 'a,1,'],
    [3904, '[1'],
    [3904, 'x'],
    [4451, '{[1,2)'],
    [4451, '{x}'],
    [20_005, 'a=>1'],
    [20_005, '"a"=>'],
    [20, '12x45678901234567890'],
  ])('of type %i that does not follow its grammar (%s) is given as the text it is', (type, text) => {
    expect(read(type, text).value).toBe(text)
  })

  it('comes back from any array of texts that PostgreSQL would quote', () => {
    const quote = (text: string) => `"${text.replace(/["\\]/g, '\\$&')}"`
    fc.assert(
      fc.property(fc.array(fc.option(fc.string({ unit: 'grapheme' }))), (texts) => {
        expect(read(1009, `{${texts.map((text) => (text === null ? 'NULL' : quote(text))).join(',')}}`).value).toEqual(
          texts,
        )
      }),
    )
  })

  it('comes back from any composite of texts that PostgreSQL would quote', () => {
    const quote = (text: string) => `"${text.replace(/["\\]/g, '$&$&')}"`
    fc.assert(
      fc.property(
        fc.option(fc.string({ unit: 'grapheme' })),
        fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
        (street, number) => {
          const text = `(${street === null ? '' : quote(street)},${number},{})`
          expect(read(20_003, text).value).toEqual({ street, number, tags: [] })
        },
      ),
    )
  })
})
