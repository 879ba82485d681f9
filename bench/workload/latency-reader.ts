/** Reads the sink as it grows and says how late its entries were: from the due time that they bear to their arrival here. */
import { Redis } from 'ioredis'

const input = JSON.parse(process.argv[2]!) as {
  readonly redis: string
  readonly stream: string
  readonly total: number
  /** So many first events are not counted. */
  readonly warmUp: number
}
const redis = new Redis(input.redis)
const latencies = new Float64Array(input.total)
let count = 0
let last = '0'
let beganAt = 0
process.stdout.write('reading\n')
while (count < input.total) {
  const reply = await redis.xread('COUNT', 5_000, 'BLOCK', 1_000, 'STREAMS', input.stream, last)
  const arrived = performance.timeOrigin + performance.now()
  for (const [id, fields] of reply?.[0]?.[1] ?? []) {
    last = id
    latencies[count++] = arrived - Number(fields[fields.indexOf('due') + 1]) / 1000
    if (count === input.warmUp) beganAt = arrived
  }
}
const measured = latencies.subarray(input.warmUp).sort()
const at = (share: number) =>
  Math.round(measured[Math.min(measured.length - 1, Math.floor(measured.length * share))]! * 10) / 10
const elapsed = performance.timeOrigin + performance.now() - beganAt
const result = {
  events: measured.length,
  perSecond: Math.round((measured.length * 1000) / elapsed),
  p50: at(0.5),
  p99: at(0.99),
  max: at(1),
}
process.stdout.write(`${JSON.stringify(result)}\n`, () => process.exit(0))
