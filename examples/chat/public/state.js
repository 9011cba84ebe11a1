// The state of the connection, and the buttons to retry or log in.
import { $ } from './dom.js'

const NOT_LOGGED_IN = 4401

/** Updates the status line. Calls `focusElsewhere` when the focused button disappears. */
export function showState(client, { loginUrl, focusElsewhere }) {
  const retry = $('#retry')
  const relogin = $('#relogin')
  let wasOpen = false
  let ticking

  relogin.href = loginUrl
  retry.addEventListener('click', () => client.open())
  client.subscribe(update)
  update()

  function update() {
    const { status, code } = client.state
    const loggedOut = status === 'stopped' && code === NOT_LOGGED_IN
    wasOpen ||= status !== 'connecting'
    clearInterval(ticking)
    if (status === 'waiting') ticking = setInterval(tick, 200)
    $('#state').dataset.status = status === 'connecting' && wasOpen ? 'waiting' : status
    setText($('#status'), words(loggedOut))
    tick()
    relogin.hidden = !loggedOut
    const hadFocus = document.activeElement === retry
    retry.textContent = status === 'stopped' ? 'Connect again' : 'Try now'
    retry.hidden = loggedOut || (status !== 'waiting' && status !== 'stopped')
    if (hadFocus && retry.hidden) focusElsewhere()
  }

  function words(loggedOut) {
    const { status, reason, code } = client.state
    if (status === 'open') return 'Connected'
    if (status === 'stopped') {
      return loggedOut ? 'Logged out' : `Disconnected: ${reason ?? `code ${code}`}`
    }
    return wasOpen ? 'Reconnecting' : 'Connecting'
  }

  /** Outside the status element, because a screen reader would read out each second. */
  function tick() {
    const { status, retryAt } = client.state
    const seconds = Math.max(1, Math.ceil((retryAt - Date.now()) / 1000))
    const text = { waiting: ` in ${seconds} s`, connecting: ' …' }[status] ?? ''
    setText($('#countdown'), text)
  }
}

/** Sets a text only if it differs, so that a screen reader does not repeat it. */
function setText(target, text) {
  if (target.textContent !== text) target.textContent = text
}
