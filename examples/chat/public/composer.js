// The field for a message, and whom it is for.
import { TYPING } from './typing.js'

export function createComposer(form, { isMe, onSay, onTyping }) {
  const { to, text } = form.elements
  let people = []
  let toldTyping = 0

  form.addEventListener('submit', send)
  text.addEventListener('keydown', sendOnEnter)
  text.addEventListener('input', tellTyping)

  function send(event) {
    event.preventDefault()
    text.focus()
    const said = text.value.trim()
    if (said === '') return
    onSay(said, receiver())
    text.value = ''
    toldTyping = 0
  }

  /** Enter sends; with Shift it is a new line, and within an input method it belongs to that. */
  function sendOnEnter(event) {
    if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return
    event.preventDefault()
    form.requestSubmit()
  }

  function tellTyping() {
    const now = Date.now()
    if (to.value || text.value === '' || now - toldTyping < TYPING / 2) return
    toldTyping = now
    onTyping()
  }

  /** Whom a message is for; undefined: everybody. */
  function receiver() {
    return people.find(({ id }) => id === to.value)
  }

  /** Whoever was chosen stays chosen, also when they have left: nothing private goes to everybody. */
  function showReceivers(present) {
    const chosen = receiver()
    people = present.filter((person) => !isMe(person))
    const gone = chosen && !people.some(({ id }) => id === chosen.id)
    to.replaceChildren(
      new Option('Everybody', ''),
      ...people.map(({ name, id }) => new Option(name, id)),
      ...(gone ? [new Option(`${chosen.name} (left)`, chosen.id)] : []),
    )
    if (gone) people.push(chosen)
    to.value = chosen?.id ?? ''
  }

  return { showReceivers, focus: () => text.focus() }
}
