/**
 * Which decoder reads which PostgreSQL type: the built-in ones by their fixed OIDs (pg_type.dat), the others by what the
 * reader found in the catalog and put into the relation's meta.
 */

import { arrayValue, compositeValue, type FromText, hstoreValue, multirangeValue, rangeValue } from './nested.js'
import {
  bigintDecoder,
  boolDecoder,
  byteaDecoder,
  type Decoder,
  decoderOf,
  floatDecoder,
  integerDecoder,
  textDecoder,
  timestampDecoder,
  timestamptzDecoder,
  vectorDecoder,
} from './values.js'

/**
 * What the catalog says of a type that is not built in. Types that are not named here, and base types of extensions, are
 * given as text. Name every type that is reached: the base of a domain, the fields of a composite, the element of an array.
 */
export type TypeInfo =
  | { readonly kind: 'enum' }
  | { readonly kind: 'domain'; readonly base: number }
  | { readonly kind: 'composite'; readonly fields: readonly { readonly name: string; readonly type: number }[] }
  /** `delimiter`: pg_type.typdelim of the element; default `,`. */
  | { readonly kind: 'array'; readonly element: number; readonly delimiter?: string }
  | { readonly kind: 'range'; readonly subtype: number }
  | { readonly kind: 'multirange'; readonly subtype: number }
  | { readonly kind: 'hstore' }

export type TypeCatalog = Readonly<Record<number, TypeInfo>>

const oid = {
  bool: 16,
  bytea: 17,
  int8: 20,
  int2: 21,
  int2vector: 22,
  int4: 23,
  oid: 26,
  xid: 28,
  cid: 29,
  oidvector: 30,
  float4: 700,
  float8: 701,
  timestamp: 1114,
  timestamptz: 1184,
  xid8: 5069,
  date: 1082,
  numeric: 1700,
} as const

const scalars = new Map<number, Decoder>([
  [oid.bool, boolDecoder],
  [oid.bytea, byteaDecoder],
  [oid.int8, bigintDecoder],
  [oid.int2, integerDecoder],
  [oid.int2vector, vectorDecoder],
  [oid.int4, integerDecoder],
  [oid.oid, integerDecoder],
  [oid.xid, integerDecoder],
  [oid.cid, integerDecoder],
  [oid.oidvector, vectorDecoder],
  [oid.float4, floatDecoder],
  [oid.float8, floatDecoder],
  [oid.timestamp, timestampDecoder],
  [oid.timestamptz, timestamptzDecoder],
  [oid.xid8, bigintDecoder],
])

/** Range and multirange types by the type of their bounds. */
const ranges = new Map([
  [3904, oid.int4],
  [3906, oid.numeric],
  [3908, oid.timestamp],
  [3910, oid.timestamptz],
  [3912, oid.date],
  [3926, oid.int8],
])
const multiranges = new Map([
  [4451, oid.int4],
  [4532, oid.numeric],
  [4533, oid.timestamp],
  [4534, oid.timestamptz],
  [4535, oid.date],
  [4536, oid.int8],
])

/** Array types of the built-in types: [array, element]. */
// biome-ignore format: a table
const arrays = new Map([
  [1000, 16], [1001, 17], [1002, 18], [1003, 19], [1016, 20], [1005, 21], [1006, 22], [1007, 23], [1008, 24], [1009, 25],
  [1028, 26], [1010, 27], [1011, 28], [1012, 29], [1013, 30], [199, 114], [143, 142], [271, 5069], [1017, 600], [1018, 601],
  [1019, 602], [1020, 603], [1027, 604], [629, 628], [1021, 700], [1022, 701], [719, 718], [791, 790], [1040, 829], [1041, 869],
  [651, 650], [775, 774], [1034, 1033], [1014, 1042], [1015, 1043], [1182, 1082], [1183, 1083], [1115, 1114], [1185, 1184],
  [1187, 1186], [1270, 1266], [1561, 1560], [1563, 1562], [1231, 1700], [2201, 1790], [2207, 2202], [2208, 2203], [2209, 2204],
  [4192, 4191], [2210, 2205], [2211, 2206], [4097, 4096], [4090, 4089], [2951, 2950], [3221, 3220], [3643, 3614], [3644, 3642],
  [3645, 3615], [3735, 3734], [3770, 3769], [3807, 3802], [4073, 4072], [2949, 2970], [5039, 5038], [1263, 2275],
  [3905, 3904], [3907, 3906], [3909, 3908], [3911, 3910], [3913, 3912], [3927, 3926],
  [6150, 4451], [6151, 4532], [6152, 4533], [6153, 4534], [6155, 4535], [6157, 4536],
])
/** The one built-in type whose arrays are not delimited by a comma. */
const box = 603

/** Nested deeper than this is given as text; PostgreSQL itself cannot build a type that contains itself. */
const maxTypeDepth = 32

/** The decoder of a type. Made once for each column of a relation. */
export function decoderFor(type: number, catalog: TypeCatalog): Decoder {
  return resolve(type, catalog, 0)
}

function resolve(type: number, catalog: TypeCatalog, depth: number): Decoder {
  const scalar = scalars.get(type)
  if (scalar !== undefined) return scalar
  if (depth > maxTypeDepth) return textDecoder
  const fromText = (inner: number): FromText => resolve(inner, catalog, depth + 1).text
  const element = arrays.get(type)
  if (element !== undefined) return arrayDecoder(fromText(element), element === box ? ';' : ',')
  const subtype = ranges.get(type)
  if (subtype !== undefined) return rangeDecoder(fromText(subtype))
  const multi = multiranges.get(type)
  if (multi !== undefined) return multirangeDecoder(fromText(multi))
  const info = catalog[type]
  if (info === undefined) return textDecoder
  switch (info.kind) {
    case 'enum':
      return textDecoder
    case 'domain':
      return resolve(info.base, catalog, depth + 1)
    case 'composite': {
      const fields = info.fields.map((field) => ({ name: field.name, fromText: fromText(field.type) }))
      return decoderOf((text) => compositeValue(text, fields))
    }
    case 'array':
      return arrayDecoder(fromText(info.element), info.delimiter ?? ',')
    case 'range':
      return rangeDecoder(fromText(info.subtype))
    case 'multirange':
      return multirangeDecoder(fromText(info.subtype))
    case 'hstore':
      return decoderOf(hstoreValue)
  }
}

function arrayDecoder(element: FromText, delimiter: string): Decoder {
  return decoderOf((text) => arrayValue(text, element, delimiter))
}

function rangeDecoder(bound: FromText): Decoder {
  return decoderOf((text) => rangeValue(text, bound))
}

function multirangeDecoder(bound: FromText): Decoder {
  return decoderOf((text) => multirangeValue(text, bound))
}

/** False where decoding needs a `TypeInfo`: what a reader looks up in the catalog. OIDs below 10,000 are fixed (transam.h). */
export function isBuiltIn(type: number): boolean {
  return type < 10_000
}
