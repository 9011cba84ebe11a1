// What was said: in order, each message once, over all connections of the page.
import { element } from './dom.js'
import { colour, avatar as makeAvatar } from './people.js'
import { keepAtEnd } from './scrolling.js'

const LONGEST = 500 // messages and notices that are kept
const TOGETHER = 5 * 60_000 // messages of one person within this time stand together

export function createLog(root, { isMe, latest, onRetry }) {
  const list = root.querySelector('ol')
  const scrolling = keepAtEnd(root, latest)
  const items = new Map() // by key

  /** Ids are unique for one person. Those of this page come before it knows who it is. */
  const keyOf = (id, from) => `${!from || isMe(from) ? 'me' : from.id} ${id}`

  /** A message of the server: a new one, or one of this page that has arrived. */
  function said({ id, from, text, time, to }) {
    const known = items.get(keyOf(id, from))
    if (known) confirm(known, time)
    else confirm(addMessage(keyOf(id, from), { from, text, to }), time)
  }

  /** A message that this page sends. */
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
    if (!item?.classList.contains('pending')) return // shown, or gone from the log
    item.classList.replace('pending', 'failed')
    setMeta(item, '')
    const retry = element('button', 'quiet', 'Retry')
    retry.type = 'button'
    retry.addEventListener('click', () => again(item, message))
    item.append(element('p', 'failure', `Not sent: ${reason} `, retry))
    scrolling.follow()
  }

  /** Send it anew, now as the last. */
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

  function notice(text) {
    add(element('li', 'notice', text))
  }

  function confirm(item, time) {
    item.classList.remove('pending', 'failed')
    item.querySelector('.failure')?.remove()
    const date = new Date(time)
    const shown = element('time', '', date.toLocaleTimeString([], { timeStyle: 'short' }))
    shown.dateTime = date.toISOString()
    setMeta(item, shown)
  }

  function addMessage(key, { from, text, to }) {
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
    item.dataset.at = Date.now()
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

  return { said, sending, confirmed, failed, notice }
}

/** Whether it belongs to the message above it: same people, not long ago. */
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
