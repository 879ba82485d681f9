/**
 * What can be wrong with a pipeline, as its author sees it: the place, the key, and the name that was probably meant.
 * All problems of a file are reported at once.
 */
import { z } from 'zod'
import { TroupeError } from '../world/error.js'
import { nearest } from './nearest.js'

export type Path = readonly (string | number)[]

export interface Problem {
  readonly code: string
  readonly path: Path
  /** Whether the key itself or its value is wrong. */
  readonly at: 'key' | 'value'
  /** `line:column` where it is known better than the path tells. */
  readonly position?: string
  /** Follows the key: `must be …`, `is required`. Never holds a value that may be secret. */
  readonly message: string
  readonly remedy?: string
  /** The key that this unknown one was probably meant to be: its being missing is not told too. */
  readonly meant?: string
  readonly cause?: unknown
}

/** Where the parts of a pipeline are written. */
export interface Origin {
  /** What places begin with: a file as the user named it, or `definePipeline`. */
  readonly label: string
  /** `line:column` of a key or its value, the nearest one above it that exists, or null. */
  locate(path: Path, at: 'key' | 'value'): string | null
  /** What the author wrote as this value, if it may be shown. */
  quote(path: Path): string | null
}

export function formatPath(path: Path): string {
  return path.reduce<string>(
    (text, part) => (typeof part === 'number' ? `${text}[${part}]` : text === '' ? part : `${text}.${part}`),
    '',
  )
}

export function problemError(problem: Problem, origin: Origin): TroupeError {
  const position = problem.position ?? origin.locate(problem.path, problem.at)
  const key = formatPath(problem.path)
  return new TroupeError({
    code: problem.code,
    message: key === '' ? problem.message : `\`${key}\` ${problem.message}`,
    place: position === null ? origin.label : `${origin.label}:${position}`,
    ...(problem.remedy === undefined ? {} : { remedy: problem.remedy }),
    ...(problem.cause === undefined ? {} : { cause: problem.cause }),
    exitCode: 2,
    permanent: true,
  })
}

/** One error for one or many: many become `invalid-pipeline`, and `problemsOf` gives them back. */
export function invalidPipeline(problems: readonly Problem[], origin: Origin): TroupeError {
  const errors = problems.map((problem) => problemError(problem, origin))
  if (errors.length === 1) return errors[0]!
  const lines = errors.map((error) => `  ${error.place}: ${error.message}`)
  return new TroupeError({
    code: 'invalid-pipeline',
    message: `${errors.length} errors:\n${lines.join('\n')}`,
    place: origin.label,
    exitCode: 2,
    permanent: true,
    cause: errors,
  })
}

/** The single errors of what `loadPipeline` threw. */
export function problemsOf(error: TroupeError): readonly TroupeError[] {
  return Array.isArray(error.cause) ? (error.cause as TroupeError[]) : [error]
}

/** The issues of the schema in our words. */
export function problemsOfIssues(
  issues: readonly z.core.$ZodIssue[],
  schema: z.core.$ZodType,
  input: unknown,
  origin: Origin,
): Problem[] {
  const problems = issues.flatMap((issue) => problemsOfIssue(issue, schema, input, origin))
  const meant = new Set(
    problems.flatMap(({ path, meant }) => (meant === undefined ? [] : [formatPath([...path.slice(0, -1), meant])])),
  )
  return problems.filter(({ code, path }) => code !== 'missing-key' || !meant.has(formatPath(path)))
}

function problemsOfIssue(issue: z.core.$ZodIssue, schema: z.core.$ZodType, input: unknown, origin: Origin): Problem[] {
  const path = issue.path.map((part) => (typeof part === 'symbol' ? String(part) : part))
  const value = valueAt(input, path)
  if (issue.code === 'unrecognized_keys') {
    const known = keysAt(schema, input, path)
    return issue.keys.map((key) => unknownKey([...path, key], key, known))
  }
  if (issue.code === 'invalid_key')
    return [
      {
        code: 'bad-name',
        path,
        at: 'key',
        message: 'is no valid name: 1 to 64 of A-Z, a-z, 0-9, _ and -',
      },
    ]
  if (value === undefined) return [{ code: 'missing-key', path, at: 'value', message: `is required${hintOf(issue)}` }]
  if (issue.code === 'invalid_union') return [oneOf('unknown-kind', path, kindsAt(schema, input, path), origin)]
  if (issue.code === 'invalid_value') return [oneOf('unknown-option', path, issue.values.map(String), origin)]
  if (issue.code === 'invalid_type')
    return [{ code: 'wrong-type', path, at: 'value', message: `must be ${nouns[issue.expected] ?? issue.expected}` }]
  if (issue.code === 'custom')
    return [{ code: String(issue.params?.code ?? 'bad-value'), path, at: 'value', message: issue.message }]
  return [{ code: 'bad-value', path, at: 'value', message: `is not valid: ${issue.message}` }]
}

const nouns: Readonly<Record<string, string>> = {
  object: 'a mapping of keys to values',
  record: 'a mapping of names to values',
  array: 'a list',
  string: 'a text',
}

/** What a missing value should be: the sentence that a wrong one would have got. */
function hintOf(issue: z.core.$ZodIssue): string {
  if (issue.code === 'custom') return `: it ${issue.message}`
  if (issue.code === 'invalid_value') return `: one of ${issue.values.map(String).join(', ')}`
  return ''
}

export function unknownKey(path: Path, key: string, known: readonly string[]): Problem {
  const meant = nearest(key, known)
  return {
    code: 'unknown-key',
    path,
    at: 'key',
    message: `is no key that exists here${meant === null ? '' : `; did you mean ${meant}?`}`,
    remedy: `keys here: ${known.join(', ')}`,
    ...(meant === null ? {} : { meant }),
  }
}

/** A value that is none of a few names. */
export function oneOf(code: string, path: Path, names: readonly string[], origin: Origin): Problem {
  const quoted = origin.quote(path)
  const meant = quoted === null ? null : nearest(quoted, names)
  const found = quoted === null ? '' : `, not ${JSON.stringify(quoted.slice(0, 64))}`
  return {
    code,
    path,
    at: 'value',
    message: `must be one of ${names.join(', ')}${found}${meant === null ? '' : `; did you mean ${meant}?`}`,
  }
}

function valueAt(input: unknown, path: Path): unknown {
  let value = input
  for (const part of path) {
    if (typeof value !== 'object' || value === null) return undefined
    value = (value as Record<string | number, unknown>)[part]
  }
  return value
}

/** The schema that checks the value at `path`, wrappers taken off; unions decided by the input. */
function schemaAt(schema: z.core.$ZodType, input: unknown, path: Path): z.core.$ZodType | null {
  let current: z.core.$ZodType | null = bare(schema)
  for (const [depth, part] of path.entries()) {
    if (current instanceof z.ZodDiscriminatedUnion) current = optionOf(current, valueAt(input, path.slice(0, depth)))
    if (current instanceof z.ZodObject) current = bare(current.shape[part])
    else if (current instanceof z.ZodRecord) current = bare(current.valueType)
    else return null
  }
  return current
}

function bare(schema: z.core.$ZodType | undefined): z.core.$ZodType | null {
  let current = schema
  while (current instanceof z.ZodOptional || current instanceof z.ZodPrefault || current instanceof z.ZodNullable)
    current = current.unwrap()
  return current ?? null
}

function optionOf(union: z.ZodDiscriminatedUnion, value: unknown): z.core.$ZodType | null {
  const kind = valueAt(value, [union.def.discriminator])
  return union.options.find((option) => kindOf(option, union.def.discriminator) === kind) ?? null
}

function kindOf(option: z.core.$ZodType, discriminator: string): unknown {
  if (!(option instanceof z.ZodObject)) return undefined
  const literal: unknown = option.shape[discriminator]
  return literal instanceof z.ZodLiteral ? literal.value : undefined
}

function keysAt(schema: z.core.$ZodType, input: unknown, path: Path): readonly string[] {
  const found = schemaAt(schema, input, path)
  const option = found instanceof z.ZodDiscriminatedUnion ? optionOf(found, valueAt(input, path)) : found
  return option instanceof z.ZodObject ? Object.keys(option.shape) : []
}

function kindsAt(schema: z.core.$ZodType, input: unknown, path: Path): readonly string[] {
  const union = schemaAt(schema, input, path.slice(0, -1))
  if (!(union instanceof z.ZodDiscriminatedUnion)) return []
  return union.options.map((option) => String(kindOf(option, union.def.discriminator)))
}
