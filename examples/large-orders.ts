// A processor in a module of its own: orders above a limit become records of another shape, all others nothing.
import { defineProcessor, record } from 'troupe'

const limit = 1_000

export default defineProcessor({
  handle(event) {
    const total = Number(event.after?.text('total'))
    if (!(total > limit)) return
    return record(event, {
      operation: 'append',
      entity: 'large-orders',
      value: { order: event.keyText, total, at: event.occurredAt },
    })
  },
})
