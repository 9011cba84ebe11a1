// The typing indicator.

/** How long it is shown, in milliseconds. Pages send it slightly more often. */
export const TYPING = 3_000

export function createTyping(line) {
  const people = new Map() // by id: { name, timer }

  function show({ id, name }) {
    clearTimeout(people.get(id)?.timer)
    people.set(id, { name, timer: setTimeout(stop, TYPING, { id }) })
    list()
  }

  function stop({ id }) {
    clearTimeout(people.get(id)?.timer)
    if (people.delete(id)) list()
  }

  /** Removes users that are no longer present. */
  function keep(present) {
    const ids = new Set(present.map(({ id }) => id))
    for (const id of people.keys()) if (!ids.has(id)) stop({ id })
  }

  function clear() {
    keep([])
  }

  function list() {
    const names = [...people.values()].map(({ name }) => name)
    line.textContent =
      names.length > 0 ? `${names.join(', ')} ${names.length > 1 ? 'are' : 'is'} typing` : ''
  }

  return { show, stop, keep, clear }
}
