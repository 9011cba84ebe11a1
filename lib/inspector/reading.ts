// Reads values from the page and from other instances, and cuts what goes to the page.

/** The longest text of a client that is shown, in characters. */
export const LONGEST_TEXT = 200

/** Returns the members of an object; none for any other value. */
export function membersOf(value: unknown): Readonly<Record<string, unknown>> {
  return isObject(value) ? value : {}
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null
}

/** Returns a text, cut; empty for any other value. */
export function textOf(value: unknown, most: number = LONGEST_TEXT): string {
  return typeof value === 'string' ? cut(value, most) : ''
}

/** Returns a finite number, or another one. */
export function numberOf(value: unknown, otherwise: number): number {
  return typeof value === 'number' && Number.isFinite(value) ? value : otherwise
}

/** Returns one of some texts: by default the first. */
export function oneOf<T extends string>(value: unknown, known: readonly [T, ...T[]]): T {
  return known.find((one) => one === value) ?? known[0]
}

/** Cuts a text, with a mark where something is missing. */
export function cut(text: string, most: number = LONGEST_TEXT): string {
  return text.length > most ? `${text.slice(0, most - 1)}…`.toWellFormed() : text.toWellFormed()
}
