/** Log sequence numbers: 64 bits, written by PostgreSQL as two hexadecimal halves (`0/16B3748`). */

/** @throws RangeError where the text is no LSN */
export function parseLsn(text: string): bigint {
  const match = /^([0-9A-Fa-f]{1,8})\/([0-9A-Fa-f]{1,8})$/.exec(text)
  if (match === null) throw new RangeError(`not an LSN: ${JSON.stringify(text.slice(0, 40))}`)
  return (BigInt(`0x${match[1]}`) << 32n) | BigInt(`0x${match[2]}`)
}

export function formatLsn(lsn: bigint): string {
  const high = (lsn >> 32n).toString(16)
  const low = (lsn & 0xffff_ffffn).toString(16)
  return `${high}/${low}`.toUpperCase()
}
