const REASONS = {
  ERR_KOAWS_TIMEOUT: 'The server did not answer in time.',
  ERR_KOAWS_CLOSED: 'There is no connection.',
  ERR_KOAWS_QUEUE_FULL: 'Too many messages are waiting.',
  ERR_KOAWS_TOO_LARGE: 'This is too long.',
  internal: 'The server failed.',
}

/** Whether the server handles no message on this connection any more. */
export const isStopping = ({ code }) => code === 'ERR_KOAWS_DRAINING'

/** Returns the reason of a failure as a sentence, from the schema, the client or the server. */
export function reasonOf({ code, data, message }) {
  return data?.issues?.[0]?.message ?? REASONS[code] ?? message
}
