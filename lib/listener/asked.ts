// Calls functions of the options once per upgrade, with the request as it arrived.
import type { IncomingMessage } from 'node:http'
import { upgradeOf } from '../upgrade/upgrade.ts'
import { askOption } from '../validate.ts'
import { recordArrival } from './first-upgrade.ts'

interface Answer {
  readonly name: string
  readonly by: object
  readonly value: unknown
  readonly error: { readonly thrown: unknown } | null
}

const answers = new WeakMap<IncomingMessage, Answer[]>()

/**
 * Calls a function of the options about an upgrade, once per request, with the request as it
 * arrived. A mount or a rewrite before the plugin changes `req.url`, and must not change the
 * result.
 *
 * @throws the error of the function, again at each call
 */
export function askOnce<T>(
  name: string,
  by: object,
  req: IncomingMessage,
  ask: (req: IncomingMessage) => T,
): T {
  const known = answers.get(req) ?? []
  let answer = known.find((one) => one.by === by && one.name === name)
  if (!answer) {
    try {
      answer = { name, by, value: askOption(name, () => ask(asArrived(req))), error: null }
    } catch (thrown) {
      answer = { name, by, value: undefined, error: { thrown } }
    }
    known.push(answer)
    answers.set(req, known)
  }
  if (answer.error) throw answer.error.thrown
  return answer.value as T
}

/** Returns the request with the URL that the client sent. */
function asArrived(req: IncomingMessage): IncomingMessage {
  // An upgrade of an older copy of this package has no such member.
  const { url } = upgradeOf(req)?.arrival ?? recordArrival(req)
  if (req.url === url) return req
  return Object.create(req, { url: { value: url, writable: true, enumerable: true } })
}
