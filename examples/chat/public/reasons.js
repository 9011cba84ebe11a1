const REASONS = {
  ERR_KOAWS_TIMEOUT: 'The server did not answer in time.',
  ERR_KOAWS_CLOSED: 'There is no connection.',
  ERR_KOAWS_QUEUE_FULL: 'Too many messages are waiting.',
  ERR_KOAWS_TOO_LARGE: 'This is too long.',
  internal: 'The server failed.',
}

/** Why something failed, as a sentence: what the schema says, or the client, or the server. */
export function reasonOf({ code, data, message }) {
  return data?.issues?.[0]?.message ?? REASONS[code] ?? message
}
