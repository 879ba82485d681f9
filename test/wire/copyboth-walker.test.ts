import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { createMessageWalker } from '../../src/wire/copyboth-walker.js'

interface Message {
  readonly type: number
  readonly body: Uint8Array
}

function encode(messages: readonly Message[]): Buffer {
  return Buffer.concat(
    messages.map(({ type, body }) => {
      const head = Buffer.alloc(5)
      head.writeUInt8(type, 0)
      head.writeUInt32BE(body.length + 4, 1)
      return Buffer.concat([head, body])
    }),
  )
}

const anyMessage = fc.record({
  type: fc.integer({ min: 0, max: 255 }),
  body: fc.uint8Array({ maxLength: 40 }),
})

describe('the walker', () => {
  it('gives every message once and in order, however the bytes are cut, in one buffer that is used again', () => {
    fc.assert(
      fc.property(
        fc.array(anyMessage, { maxLength: 12 }),
        fc.array(fc.integer({ min: 1, max: 30 }), { minLength: 1, maxLength: 20 }),
        fc.array(fc.boolean(), { maxLength: 12 }),
        (messages, cuts, holds) => {
          const bytes = encode(messages)
          const seen: Message[] = []
          const walker = createMessageWalker((type, buffer, start, end) => {
            seen.push({ type, body: buffer.slice(start, end) })
            if (holds[seen.length - 1] === true) walker.hold()
          })
          const shared = new Uint8Array(30)
          let at = 0
          for (let cut = 0; at < bytes.length; cut++) {
            const size = Math.min(cuts[cut % cuts.length]!, bytes.length - at)
            shared.set(bytes.subarray(at, at + size))
            walker.feed(shared, size)
            at += size
            while (walker.held) walker.release()
            shared.fill(0xff)
          }
          expect(seen.map(({ type, body }) => [type, ...body])).toEqual(
            messages.map(({ type, body }) => [type, ...body]),
          )
        },
      ),
    )
  })

  it('keeps what comes while it is held', () => {
    const seen: number[] = []
    const walker = createMessageWalker((type) => {
      seen.push(type)
      if (type === 1) walker.hold()
    })
    const empty = new Uint8Array(0)
    const bytes = encode([1, 2, 3].map((type) => ({ type, body: empty })))
    walker.feed(bytes, bytes.length)
    walker.feed(encode([{ type: 4, body: empty }]), 5)
    expect(seen).toEqual([1])
    walker.release()
    expect(seen).toEqual([1, 2, 3, 4])
  })

  it('gathers a message of 64 MiB from small chunks with one copy', () => {
    const size = 64 * 1024 * 1024
    let got = 0
    const walker = createMessageWalker((_type, _bytes, start, end) => {
      got = end - start
    })
    const head = Buffer.alloc(5)
    head.writeUInt32BE(size + 4, 1)
    walker.feed(head, 5)
    const chunk = new Uint8Array(16 * 1024)
    const began = performance.now()
    for (let fed = 0; fed < size; fed += chunk.length) walker.feed(chunk, chunk.length)
    expect(got).toBe(size)
    // 4,096 chunks: quadratic copying would move 128 GiB.
    expect(performance.now() - began).toBeLessThan(2_000)
  })

  it('refuses a length that no message can have', () => {
    const walker = () => createMessageWalker(() => {}, 1000)
    expect(() => walker().feed(Buffer.from([100, 0, 0, 0, 3]), 5)).toThrow(/3 bytes/)
    expect(() => walker().feed(Buffer.from([100, 0, 0, 4, 0]), 5)).toThrow(/1024 bytes/)
  })
})
