// Removes the credentials of a command line from text that a server sent.

/** Shorter values are no credentials, and would be found in any text. */
const SHORTEST = 3
/** A server may repeat a part of a credential: this many characters in a row count as one. */
const GRAM = 6

/** The credentials of one command line. */
export class Secrets {
  readonly #whole = new Set<string>()
  readonly #grams = new Set<string>()

  /** Adds a value in its usual encodings, and its parts. */
  add(value: string): void {
    const bare = value.replace(/^(?:basic|bearer|digest|token)\s+/i, '')
    for (const part of [bare, ...bare.split(/[\s;,&:]+/)]) {
      for (const form of formsOf(part)) {
        if (form.length < SHORTEST) continue
        this.#whole.add(form)
        for (let at = 0; at + GRAM <= form.length; at++) this.#grams.add(form.slice(at, at + GRAM))
      }
    }
  }

  /** Adds the values of `name=value` pairs: a query, a cookie. The names may be shown. */
  addPairs(text: string, separator: string): void {
    for (const pair of text.split(separator)) this.add(pair.slice(pair.indexOf('=') + 1).trim())
  }

  /** Returns a text with `***` in place of each credential, and of each part of one. */
  redact(text: string): string {
    if (this.#whole.size === 0) return text
    const folded = fold(text)
    const hidden = new Uint8Array(text.length)
    for (const secret of this.#whole) {
      for (let at = folded.indexOf(secret); at >= 0; at = folded.indexOf(secret, at + 1))
        hidden.fill(1, at, at + secret.length)
    }
    for (let at = 0; at + GRAM <= text.length; at++) {
      if (this.#grams.has(folded.slice(at, at + GRAM))) hidden.fill(1, at, at + GRAM)
    }
    let shown = ''
    for (let at = 0; at < text.length; at++) {
      if (hidden[at] === 0) shown += text[at]
      else if (hidden[at - 1] !== 1) shown += '***'
    }
    return shown
  }
}

function formsOf(value: string): Set<string> {
  const bytes = Buffer.from(value)
  const forms = [
    value,
    encodeURIComponent(value.toWellFormed()),
    JSON.stringify(value).slice(1, -1),
  ]
  forms.push(bytes.toString('base64'), bytes.toString('base64url'))
  try {
    forms.push(decodeURIComponent(value))
  } catch {
    // Not encoded.
  }
  const decoded = /^[\w+/-]{8,}=*$/.test(value) ? Buffer.from(value, 'base64').toString() : ''
  if (/^[\x20-\x7e]+$/.test(decoded)) forms.push(decoded)
  return new Set(forms.map(fold))
}

/** Servers change the case of values; only ASCII keeps its length. */
function fold(text: string): string {
  return text.replace(/[A-Z]+/g, (letters) => letters.toLowerCase())
}
