/**
 * `${NAME}` and `${NAME:-default}` in a text, filled from the environment, so that secrets stay out of files.
 *
 * `$${` is a literal `${`. A variable that is not set and has no default is an error that names the variable; an empty
 * one takes the default, as in a shell. What was filled in is not read again, and never shows in a message.
 */

export type Environment = Readonly<Record<string, string | undefined>>

export type Interpolation =
  | { readonly ok: true; readonly text: string }
  | {
      readonly ok: false
      readonly code: 'unset-variable' | 'bad-interpolation'
      readonly message: string
      readonly remedy: string
    }

const expression = /\$\$\{|\$\{([^}]*)(\}?)/g
const content = /^([A-Za-z_][A-Za-z0-9_]*)(?::-([\s\S]*))?$/

export function interpolate(text: string, env: Environment): Interpolation {
  let failure: Exclude<Interpolation, { ok: true }> | null = null
  const filled = text.replace(expression, (whole, inner: string | undefined, close: string | undefined) => {
    if (inner === undefined) return '${'
    const parts = close === '}' ? content.exec(inner) : null
    if (parts === null) {
      failure ??= {
        ok: false,
        code: 'bad-interpolation',
        // biome-ignore lint/suspicious/noTemplateCurlyInString: the text is about them
        message: 'holds a ${…} that is not ${NAME} or ${NAME:-default}',
        remedy: 'write $${ for a literal ${',
      }
      return whole
    }
    const name = parts[1]!
    const value = env[name]
    if (value !== undefined && (value !== '' || parts[2] === undefined)) return value
    if (parts[2] !== undefined) return parts[2]
    failure ??= {
      ok: false,
      code: 'unset-variable',
      message: `needs the environment variable ${name}, which is not set`,
      remedy: `set ${name}, or give a default: \${${name}:-…}`,
    }
    return whole
  })
  return failure ?? { ok: true, text: filled }
}
