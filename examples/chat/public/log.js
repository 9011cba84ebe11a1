// The messages in order, each once, across all connections of the page.
import { element } from './dom.js'
import { colour, avatar as makeAvatar } from './people.js'
import { keepAtEnd } from './scrolling.js'

const LONGEST = 500 // most messages and notices
const TOGETHER = 5 * 60_000 // messages of one user within this time are grouped

export function createLog(root, { isMe, latest, onRetry }) {
  const list = root.querySelector('ol')
  const scrolling = keepAtEnd(root, latest)
  const items = new Map() // by key

  /** Ids are unique per user. Messages of this page can be sent before it knows its own user. */
  const keyOf = (id, from) => `${!from || isMe(from) ? 'me' : from.id} ${id}`

  /** Shows a message from the server: a new one, or the confirmation of a message of this page. */
  function said({ id, from, text, time, to }) {
    const known = items.get(keyOf(id, from))
    if (known) confirm(known, time)
    else confirm(addMessage(keyOf(id, from), { from, text, to, time }), time)
  }

  /** Shows a message that this page sends. */
  function sending({ id, text, to }) {
    const item = addMessage(keyOf(id), { text, to })
    item.classList.add('pending')
    setMeta(item, 'Sending …')
    scrolling.toEnd()
  }

  function confirmed(id, time) {
    const item = items.get(keyOf(id))
    if (item) confirm(item, time)
  }

  function failed(message, reason) {
    const item = items.get(keyOf(message.id))
    if (!item?.classList.contains('pending')) return // already confirmed, or removed from the log
    item.classList.replace('pending', 'failed')
    setMeta(item, '')
    const retry = element('button', 'quiet', 'Retry')
    retry.type = 'button'
    retry.addEventListener('click', () => again(item, message))
    item.append(element('p', 'failure', `Not sent: ${reason} `, retry))
    scrolling.follow()
  }

  /** Sends it again, now as the latest message. */
  function again(item, message) {
    const next = item.nextElementSibling
    item.querySelector('.failure').remove()
    item.classList.replace('failed', 'pending')
    setMeta(item, 'Sending …')
    list.append(item)
    group(item)
    if (next) group(next)
    scrolling.toEnd()
    onRetry(message)
  }

  /** Shows an answer that grows, to this page only, with a button that calls `onStop`. */
  function growing({ id, from, onStop }) {
    const item = addMessage(keyOf(id, from), { from, text: '', to: { id: 'me' } })
    const words = item.querySelector('.text')
    const stop = element('button', 'quiet stop', 'Stop')
    stop.type = 'button'
    stop.addEventListener('click', onStop)
    item.ariaBusy = 'true' // a screen reader reads it when it is complete
    item.append(stop)

    return {
      get text() {
        return words.textContent
      },
      add(text) {
        words.append(text)
        scrolling.follow()
      },
      end(note = '') {
        if (document.activeElement === stop) root.focus()
        stop.remove()
        item.ariaBusy = 'false'
        confirm(item, Date.now())
        if (note) item.querySelector('.meta').prepend(`${note} `)
        scrolling.follow()
      },
    }
  }

  function notice(text) {
    add(element('li', 'notice', text))
  }

  /** Shows a line about missed messages; the same text for the room and for the user only once. */
  function missed(text) {
    if (list.lastElementChild?.textContent !== text) add(element('li', 'missed', text))
  }

  function confirm(item, time) {
    item.classList.remove('pending', 'failed')
    item.querySelector('.failure')?.remove()
    const date = new Date(time)
    const shown = element('time', '', date.toLocaleTimeString([], { timeStyle: 'short' }))
    shown.dateTime = date.toISOString()
    setMeta(item, shown)
  }

  function addMessage(key, { from, text, to, time = Date.now() }) {
    const mine = !from || isMe(from)
    const item = element('li', `message${mine ? ' mine' : ''}${to ? ' private' : ''}`)
    const heading = element('p', 'from', element('b', '', mine ? 'You' : from.name))
    if (to) heading.append(element('span', 'only', mine ? `only to ${to.name}` : 'only to you'))
    if (from) colour(item, from)
    if (!mine) item.append(makeAvatar(from))
    const words = element('p', 'text', text)
    words.dir = 'auto'
    const line = element('div', 'line', words, element('p', 'meta'))
    item.append(element('div', 'bubble', heading, line))
    item.dataset.key = key
    item.dataset.author = `${mine ? 'me' : from.id} ${to?.id ?? ''}`
    item.dataset.at = time
    items.set(key, item)
    add(item)
    return item
  }

  function add(item) {
    list.append(item)
    group(item)
    if (list.children.length > LONGEST) forgetFirst()
    scrolling.follow(item.matches('.message:not(.mine)'))
  }

  function forgetFirst() {
    const first = list.firstElementChild
    items.delete(first.dataset.key)
    first.remove()
    group(list.firstElementChild)
  }

  return { said, sending, confirmed, failed, growing, notice, missed }
}

/** True if it is grouped with the message above: same users, short time between. */
function group(item) {
  const above = item.previousElementSibling
  const follows =
    above !== null &&
    item.dataset.author !== undefined &&
    above.dataset.author === item.dataset.author &&
    Math.abs(item.dataset.at - above.dataset.at) < TOGETHER
  item.classList.toggle('follows', follows)
}

function setMeta(item, content) {
  item.querySelector('.meta').replaceChildren(content)
}
