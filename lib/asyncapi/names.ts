// Gives message types and schemas names that AsyncAPI and code generators accept.

/** The form of a name of a component: AsyncAPI 3, Components Object. */
const NAME = /^[\w.-]+$/

/** Returns whether a text can be the name of a component. */
export function isComponentName(name: string): boolean {
  return NAME.test(name) && !(name in {})
}

/** Returns a name close to a text. Names that every object inherits would confuse tools. */
function nameFor(text: string): string {
  const name = text.replace(/[^\w.-]+/g, '-')
  return name in {} ? `${name}_` : name
}

/** Returns whether a text can be the name of an operation: an identifier in most languages. */
export function isIdentifier(name: string): boolean {
  return /^[A-Za-z_]\w*$/.test(name) && !(name in {})
}

/** Returns an identifier close to a message type: generators make methods of operations. */
export function identifierFor(type: string): string {
  const name = type.replace(/\W+/g, '_')
  return /^\d/.test(name) ? `_${name}` : name
}

/** Names that are given once each. */
export class Names {
  readonly #taken = new Set<string>()

  /** Takes a name as it is. Returns false if it is taken. */
  reserve(name: string): boolean {
    if (this.#taken.has(name)) return false
    this.#taken.add(name)
    return true
  }

  /** Returns a free name for a text, with a number behind it if needed. */
  take(text: string): string {
    const name = nameFor(text)
    for (let n = 1; ; n++) {
      const free = n === 1 ? name : `${name}_${n}`
      if (this.reserve(free)) return free
    }
  }
}
