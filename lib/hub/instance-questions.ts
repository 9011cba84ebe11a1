// Asks the application on all instances, and answers for this one: `hub.ask()` and `hub.answer()`.

import { KoaWsError, OptionsError } from '../errors.ts'
import { type Fields, fieldsOf, isCount, isIntegerWithin } from '../fields.ts'
import { assertName, check, describe, validate } from '../validate.ts'

/** The options of `hub.ask()`. */
export interface AskOptions {
  /** How long instances have to answer, in milliseconds, 1 to 10,000. @default 2_000 */
  timeout?: number | undefined
  /** The names of the instances to ask, as in `status().id`. @default all, with this one */
  instances?: readonly string[] | undefined
}

/** The answer of one instance. */
export interface InstanceAnswer {
  /** The name of the instance. */
  readonly instance: string
  /** What its handler returned, as JSON carries it. */
  readonly data: unknown
}

/** The answers of instances; `missing` names instances without a handler, and instances that failed or did not answer in time. */
export type InstanceAnswers = readonly InstanceAnswer[] & { readonly missing: readonly string[] }

/** Answers the questions of one name: gets the data, and the name of the instance that asks. */
export type InstanceHandler = (data: unknown, instance: string) => unknown

/** What the questions need of the hub. */
export interface InstanceLine {
  /** The other instances that are known to be alive. */
  peers(): readonly string[]
  /** Tells another instance something. @returns false while the backplane does not work */
  tell(to: string, text: string): boolean
  /** Reports the error of a handler. */
  failed(error: unknown, where: string): void
}

/** The largest question and the largest answer, in characters of JSON. */
const MOST_ASKED = 16 * 1024
const MOST_TOLD = 256 * 1024
/** The most questions that wait, and the most answers in progress. */
const MOST_OPEN = 1_000
const MOST_ANSWERING = 100
const PATIENCE = 2_000
const LONGEST = 10_000
/** How the notes between instances begin. An instance that does not know them ignores them. */
const ASK = '{"ask":'
const TOLD = '{"told":'

interface Open {
  readonly answers: InstanceAnswer[]
  readonly waiting: Set<string>
  readonly missing: Set<string>
  readonly finish: () => void
}

export class InstanceQuestions {
  readonly #id: string
  readonly #line: InstanceLine
  readonly #handlers = new Map<string, InstanceHandler>()
  readonly #open = new Map<number, Open>()
  #last = 0
  #answering = 0
  #isClosed = false

  constructor(id: string, line: InstanceLine) {
    this.#id = id
    this.#line = line
  }

  /** Registers the handler of a name. @returns a function that removes it */
  answer(name: string, handler: InstanceHandler): () => void {
    assertName('question', name)
    if (typeof handler !== 'function') {
      throw new OptionsError(`hub.answer() takes a handler, not ${describe(handler)}.`)
    }
    if (this.#handlers.has(name)) {
      throw new OptionsError(`hub.answer("${name}") has a handler already: remove that one first.`)
    }
    this.#handlers.set(name, handler)
    return () => {
      if (this.#handlers.get(name) === handler) this.#handlers.delete(name)
    }
  }

  async ask(name: string, data?: unknown, options: AskOptions = {}): Promise<InstanceAnswers> {
    assertName('question', name)
    validate('hub.ask()', options, { timeout: milliseconds, instances: check.strings })
    const { timeout = PATIENCE } = options
    const text = jsonOf(data, MOST_ASKED, 'The question')
    const all = [this.#id, ...this.#line.peers()]
    const asked = options.instances ? [...new Set(options.instances)] : all
    const known = asked.filter((one) => all.includes(one))
    const missing = asked.filter((one) => !all.includes(one))
    if (this.#isClosed || this.#open.size >= MOST_OPEN) return answersOf([], asked)
    return new Promise((resolve) => {
      const id = ++this.#last
      const timer = setTimeout(() => open.finish(), timeout)
      const open: Open = {
        answers: [],
        waiting: new Set(known),
        missing: new Set(missing),
        finish: () => {
          clearTimeout(timer)
          this.#open.delete(id)
          resolve(answersOf(open.answers, [...open.missing, ...open.waiting]))
        },
      }
      this.#open.set(id, open)
      if (known.length === 0) open.finish()
      for (const one of known) this.#put(one, id, name, text)
    })
  }

  /** Takes a note of another instance. @returns false for a note of another kind */
  noted(from: string, text: string): boolean {
    if (text.startsWith(ASK)) {
      const { id, name, data } = fieldsOf(parse(text)['ask'])
      if (!isCount(id) || typeof name !== 'string') return true
      const told = (answer: string | null): void => {
        this.#line.tell(
          from,
          `${TOLD}{"id":${id},"data":${answer}${answer === null ? ',"failed":true' : ''}}}`,
        )
      }
      this.#answer(name, data, from, told)
      return true
    }
    if (!text.startsWith(TOLD)) return false
    const { id, data, failed } = fieldsOf(parse(text)['told'])
    if (isCount(id)) this.#told(id, from, data, failed === true)
    return true
  }

  /** An instance has left: it will not answer. */
  left(peer: string): void {
    for (const id of [...this.#open.keys()]) this.#told(id, peer, null, true)
  }

  /** Ends all questions with the answers so far. */
  close(): void {
    this.#isClosed = true
    for (const open of [...this.#open.values()]) open.finish()
  }

  #put(to: string, id: number, name: string, text: string): void {
    if (to === this.#id) {
      this.#answer(name, JSON.parse(text), to, (answer) =>
        this.#told(id, to, answer && JSON.parse(answer), answer === null),
      )
      return
    }
    const note = `${ASK}{"id":${id},"name":${JSON.stringify(name)},"data":${text}}}`
    if (!this.#line.tell(to, note)) this.#told(id, to, null, true)
  }

  /** @param told gets the answer in JSON, or null for none. It is called once */
  #answer(name: string, data: unknown, from: string, told: (answer: string | null) => void): void {
    const handler = this.#handlers.get(name)
    if (!handler || this.#answering >= MOST_ANSWERING) {
      told(null)
      return
    }
    this.#answering++
    const end = (answer: string | null): void => {
      if (timer === null) return
      clearTimeout(timer)
      timer = null
      this.#answering--
      told(answer)
    }
    let timer: NodeJS.Timeout | null = setTimeout(() => end(null), LONGEST).unref()
    const run = async (): Promise<string> =>
      jsonOf(await handler(data, from), MOST_TOLD, 'The answer')
    run().then(end, (error: unknown) => {
      end(null)
      this.#line.failed(error, `hub.answer("${name}")`)
    })
  }

  #told(id: number, from: string, data: unknown, failed: boolean): void {
    const open = this.#open.get(id)
    if (!open?.waiting.delete(from)) return
    if (failed) open.missing.add(from)
    else open.answers.push({ instance: from, data })
    if (open.waiting.size === 0) open.finish()
  }
}

function answersOf(
  answers: readonly InstanceAnswer[],
  missing: readonly string[],
): InstanceAnswers {
  return Object.assign([...answers], { missing: [...missing] })
}

/** @throws KoaWsError for a text that is too long, TypeError for a value without a JSON form */
function jsonOf(value: unknown, most: number, what: string): string {
  const text = value === undefined ? 'null' : JSON.stringify(value)
  if (text === undefined) throw new TypeError(`${what} has no JSON form.`)
  if (text.length <= most) return text
  throw new KoaWsError(
    'ERR_KOAWS_BACKPLANE_REFUSED',
    `${what} has ${text.length} characters of JSON, and the limit is ${most}: split it.`,
  )
}

function parse(text: string): Fields {
  try {
    return fieldsOf(JSON.parse(text))
  } catch {
    return {}
  }
}

function milliseconds(value: unknown): string | null {
  return isIntegerWithin(value, 1, LONGEST)
    ? null
    : `must be a whole number of milliseconds from 1 to ${LONGEST}, not ${describe(value)}.`
}
