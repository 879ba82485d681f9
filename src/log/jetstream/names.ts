/**
 * The subjects of a pipeline's stream. Every part is a name of `[A-Za-z0-9_-]{1,64}`, so that none can hold a dot, a
 * wildcard or another pipeline's subject.
 *
 * | subject | holds |
 * |---|---|
 * | `troupe.<pipeline>.evt.<scope>.<partition>` | frames |
 * | `troupe.<pipeline>.ck.reader.<source>` | the reader's checkpoint: its fence |
 * | `troupe.<pipeline>.ck.proc.<processor>.<scope>.<partition>` | a processor's checkpoint: its fence |
 * | `troupe.<pipeline>.ck.layout` | partitions and protocol version of the pipeline |
 * | `troupe.<pipeline>.ob.<source>` | what the source must still be told (ids to acknowledge) |
 *
 * Control traffic (`troupe.<pipeline>.ctl.…`) is not stored.
 */
export interface StreamNames {
  /** The stream: `TROUPE_<pipeline>`. */
  readonly stream: string
  /** What the stream covers. */
  readonly subjects: readonly string[]
  frames(scope: string, partition: number): string
  reader(source: string): string
  processor(processor: string, scope: string, partition: number): string
  /** All processors' checkpoints of one partition. */
  processorsOf(scope: string, partition: number): string
  readonly processors: string
  readonly layout: string
  obligations(source: string): string
  /** Told when checkpoints are wanted at once. */
  readonly hurry: string
  /** Told when checkpoints of processors were moved from outside. */
  readonly sought: string
}

export function streamNames(pipeline: string): StreamNames {
  const root = `troupe.${pipeline}`
  return {
    stream: `TROUPE_${pipeline}`,
    subjects: [`${root}.evt.>`, `${root}.ck.>`, `${root}.ob.>`],
    frames: (scope, partition) => `${root}.evt.${scope}.${partition}`,
    reader: (source) => `${root}.ck.reader.${source}`,
    processor: (processor, scope, partition) => `${root}.ck.proc.${processor}.${scope}.${partition}`,
    processorsOf: (scope, partition) => `${root}.ck.proc.*.${scope}.${partition}`,
    processors: `${root}.ck.proc.>`,
    layout: `${root}.ck.layout`,
    obligations: (source) => `${root}.ob.${source}`,
    hurry: `${root}.ctl.hurry`,
    sought: `${root}.ctl.sought`,
  }
}

/** `key.3` of `…evt.key.3`; the processor of `…ck.proc.<processor>.key.3`. */
export function processorOf(subject: string): string {
  return subject.split('.')[4] ?? ''
}
