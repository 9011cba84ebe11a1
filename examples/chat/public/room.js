// The page of a room: one client of koaws, and the parts of the page that it updates.
import { connect } from '/koaws-client.js'
import { ASSISTANT, createAssistant } from './assistant.js'
import { createComposer } from './composer.js'
import { createDelivery } from './delivery.js'
import { $ } from './dom.js'
import { loadHistory, showMissed } from './history.js'
import { createLog } from './log.js'
import { createMembers } from './members.js'
import { isStopping, reasonOf } from './reasons.js'
import { createRooms } from './rooms.js'
import { showState } from './state.js'
import { createToasts } from './toasts.js'
import { createTyping } from './typing.js'

const room = decodeURIComponent(location.pathname.split('/').at(-1))
const loginUrl = `/login?room=${encodeURIComponent(room)}`
let me // the user of this page, once the server has sent it

const isMe = (person) => person.id === me?.id
const toasts = createToasts($('#toasts'))
const typing = createTyping($('#typing'))
const rooms = createRooms($('#rooms'), room)
const log = createLog($('#log'), { isMe, latest: $('#latest'), onRetry: (said) => deliver(said) })

const client = connect(`${location.pathname}/socket`, {
  onError,
  positions: await showHistory().catch(onError), // the server sends what came after them
  reload: async (name) => (await showHistory())[name], // when it cannot
})
const composer = createComposer($('#composer'), { isMe, onSay: say, onTyping: tellTyping })
const members = createMembers($('#members'), {
  isMe,
  onNotice: log.notice,
  onChange: membersChanged,
})
const deliver = createDelivery(client, log, toasts)
const ask = createAssistant(client, log, toasts)

document.title = `${room} – Chat`
$('#room').textContent = room
$('#logout').addEventListener('click', logOut)
composer.focus()

client.on('you', ({ instance, ...person }) => {
  me = person
  $('#instance').textContent = instance ?? ''
})
client.on('members', members.update)
client.on('rooms', rooms.update)
client.on('isTyping', typing.show)
client.on('said', (said) => {
  if (!said.to) typing.stop(said.from)
  log.said(said)
})
client.subscribe(connectionChanged)
showMissed(client, log)
showState(client, { loginUrl, focusElsewhere: composer.focus })

/** Shows the messages so far, and returns their positions by room. */
async function showHistory() {
  const { you, messages, positions } = await loadHistory()
  me = you
  for (const said of messages) log.said(said)
  return positions
}

function connectionChanged() {
  if (client.state.status === 'open') {
    $('#log').ariaLive = 'polite' // new messages are read out, the history was not
    return
  }
  members.disconnected()
  typing.clear()
}

function membersChanged(people) {
  composer.showReceivers(people)
  typing.keep(people)
}

function say(text, to) {
  const said = { id: newId(), text, to }
  log.sending(said)
  if (to !== ASSISTANT) void deliver(said)
  else {
    log.confirmed(said.id, Date.now())
    void ask(said.id, text)
  }
}

function tellTyping() {
  client.push('typing', undefined, { queue: false }) // outdated after a reconnect
}

async function logOut() {
  try {
    await fetch('/logout', { method: 'POST' })
    location.assign(loginUrl)
  } catch {
    toasts.show('The server does not answer. Please try again.')
  }
}

function onError(error) {
  console.error(error)
  if (!isStopping(error)) toasts.show(reasonOf(error)) // a typing indicator
}

/** Replaces `crypto.randomUUID()`, which needs HTTPS or localhost. */
function newId() {
  return crypto.getRandomValues(new Uint32Array(3)).join('-')
}
