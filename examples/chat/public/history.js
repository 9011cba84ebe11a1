// The messages so far, and a line about those that the page missed.

const PATIENCE = 10_000 // milliseconds

const REASONS = {
  expired: 'they are too old',
  trimmed: 'there were too many',
  limit: 'there were too many',
  slow: 'the connection is too slow',
  epoch: 'the server has lost its history',
  ahead: 'the server has lost its history',
}

/** Returns the messages so far, the user of this page, and the positions to connect with. */
export async function loadHistory() {
  try {
    const signal = AbortSignal.timeout(PATIENCE)
    const response = await fetch(`${location.pathname}/history`, { signal })
    if (response.ok) return await response.json()
  } catch {}
  throw new Error('Earlier messages could not be loaded.')
}

/** Shows a line above the messages that come after an absence. */
export function showMissed(client, log) {
  let wasAway = false // before that, the page has just loaded the messages so far

  client.subscribe(() => {
    if (client.state.status === 'waiting') wasAway = true
  })
  client.on('koaws:recovered', ({ room, recovered, missed, reason }) => {
    if (!recovered) log.missed(`Some messages could not be recovered: ${REASONS[reason]}.`)
    else if (wasAway && missed > 0) log.missed(`${count(missed, room)} while you were away`)
  })
}

/** The messages to the user are those of the room without a name. */
function count(missed, room) {
  return `${missed} ${room === '' ? 'private ' : ''}${missed === 1 ? 'message' : 'messages'}`
}
