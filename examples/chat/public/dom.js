/** Returns the element for a selector. */
export const $ = (selector) => document.querySelector(selector)

/** Creates an element. Text is inserted as text, never as HTML. */
export function element(name, className, ...content) {
  const made = document.createElement(name)
  if (className) made.className = className
  made.append(...content)
  return made
}
