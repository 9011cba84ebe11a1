// How the connection is, and what can be done about it.
import { $ } from './dom.js'

const NOT_LOGGED_IN = 4401

/** Keeps the line up to date. `focusElsewhere`: the button that had the focus has gone. */
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

  /** Beside the status, and not in it: a screen reader would speak each second. */
  function tick() {
    const { status, retryAt } = client.state
    const seconds = Math.max(1, Math.ceil((retryAt - Date.now()) / 1000))
    const text = { waiting: ` in ${seconds} s`, connecting: ' …' }[status] ?? ''
    setText($('#countdown'), text)
  }
}

/** What does not change is not spoken again. */
function setText(target, text) {
  if (target.textContent !== text) target.textContent = text
}
