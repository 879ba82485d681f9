/**
 * Names and texts as PostgreSQL's parser takes them. The replication grammar knows the same quotes as SQL, and a list of
 * publications is a literal that holds quoted names.
 */
import { TroupeError } from '../../world/error.js'

export function quoteName(name: string): string {
  return `"${name.replaceAll('"', '""')}"`
}

export function quoteText(text: string): string {
  return `'${text.replaceAll("'", "''")}'`
}

export interface TableName {
  readonly schema: string
  readonly table: string
}

export function quoteTable(name: TableName): string {
  return `${quoteName(name.schema)}.${quoteName(name.table)}`
}

/**
 * `orders`, `shop.orders`, `"Shop"."Orders"`: a part in double quotes is taken as it is, any other too (configuration names tables
 * as the catalog spells them). Without a schema: `public`.
 * @throws TroupeError `bad-table-name`
 */
export function parseTableName(text: string, place: string): TableName {
  const part = '"(?:[^"]|"")+"|[^".]+'
  const match = new RegExp(`^(?:(${part})\\.)?(${part})$`, 'u').exec(text.trim())
  if (match === null)
    throw new TroupeError({
      code: 'bad-table-name',
      message: `${JSON.stringify(text)} is no name of a table`,
      place,
      remedy: 'write schema.table, with double quotes around a part that contains a dot or a quote',
      exitCode: 2,
      permanent: true,
    })
  const plain = (quoted: string) => (quoted.startsWith('"') ? quoted.slice(1, -1).replaceAll('""', '"') : quoted)
  return { schema: match[1] === undefined ? 'public' : plain(match[1]), table: plain(match[2]!) }
}
