/** Passwords do not reach logs, errors or screens: these two take them out of what is printed. */

const secretParameters = /([?&;](?:password|pass|pwd|token|secret|sslpassword)=)[^&;\s"'\\]*/gi
/** User information of a URL; the password may hold anything but the characters that end it. */
const userInformation = /\b([a-z][a-z0-9+.-]*:\/\/)([^\s:/@"'\\?#]*):([^\s"'\\]*)@/gi

/** A URL as it may be shown: `redis://user:***@host:6379/0`. What is no URL is shown as `***`. */
export function redactUrl(url: string): string {
  if (!URL.canParse(url)) return '***'
  return redactText(url)
}

/** The passwords of every URL inside a text, replaced. */
export function redactText(text: string): string {
  if (!text.includes('://') && !text.includes('=')) return text
  return text.replace(userInformation, '$1$2:***@').replace(secretParameters, '$1***')
}
