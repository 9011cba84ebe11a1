// The rooms with their number of users.
import { element } from './dom.js'

export function createRooms(list, current) {
  const links = new Map() // by name; reused, so that a focused link keeps the focus

  function update(rooms) {
    for (const { name, people } of rooms) {
      const link = links.get(name) ?? add(name)
      link.lastElementChild.textContent = people
      link.ariaLabel = `${name}, ${people} ${people === 1 ? 'person' : 'people'}`
    }
  }

  function add(name) {
    const link = element('a', '', element('span', 'name', name), element('span', 'count'))
    link.href = `/rooms/${encodeURIComponent(name)}`
    if (name === current) link.ariaCurrent = 'page'
    links.set(name, link)
    list.append(element('li', '', link))
    return link
  }

  return { update }
}
