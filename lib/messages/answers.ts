import { MessageError, toError } from '../errors.ts'
import type { Envelope, ErrorBody } from '../protocol/envelope.ts'
import { isThenable } from '../thenable.ts'
import type { Requests } from './requests.ts'
import type { Routes } from './routes.ts'
import { checkData } from './schema.ts'

/** What becomes known of answers that do not fit. */
export interface AnswerHost {
  /** Count it as an offence of the client. */
  offend(body: ErrorBody, id: undefined, about: string): void
}

/** A client has answered what the server asked: whoever waits gets it, once it was looked at. */
export function settleAnswer(
  { type, id, data, error }: Envelope,
  requests: Requests,
  routes: Routes,
  host: AnswerHost,
): void {
  if (id === undefined) return
  const asked = requests.typeOf(id)
  if (asked === undefined) return
  if (type === 'koaws:error') {
    requests.reject(id, errorOf(error, asked))
    return
  }
  const schema = routes.entry(asked)?.reply
  const unfit = (thrown: unknown): void => {
    requests.reject(id, unexposed(thrown))
    if (thrown instanceof MessageError) host.offend(bodyOf(thrown), undefined, asked)
  }
  try {
    const given = data === undefined ? null : data
    const value = schema ? checkData(schema, given) : given
    if (isThenable(value)) Promise.resolve(value).then((one) => requests.resolve(id, one), unfit)
    else requests.resolve(id, value)
  } catch (thrown) {
    unfit(thrown)
  }
}

/** What is wrong with an answer may hold words of the client: no other client gets them. */
function unexposed(thrown: unknown): Error {
  if (!(thrown instanceof MessageError)) return toError(thrown)
  const { status, message, code, retryable, data } = thrown
  return new MessageError(status, message, { code, retryable, data, expose: false })
}

/** What `connection.request()` rejects with. Its words are the client's: no other client gets them. */
function errorOf(error: unknown, asked: string): MessageError {
  const given = (typeof error === 'object' && error !== null ? error : {}) as Partial<ErrorBody>
  const { code, message, status, retryable, data } = given
  const known = Number.isInteger(status) && (status as number) >= 400 && (status as number) < 600
  return new MessageError(
    known ? (status as number) : 500,
    typeof message === 'string' ? message : `The client answered "${asked}" with an error.`,
    {
      code: typeof code === 'string' ? code : undefined,
      retryable: typeof retryable === 'boolean' ? retryable : undefined,
      data,
      expose: false,
    },
  )
}

function bodyOf({ code, message, status, retryable, data }: MessageError): ErrorBody {
  return { code, message, status, retryable, data }
}
