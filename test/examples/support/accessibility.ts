/// <reference lib="dom" />
import type { Page } from 'playwright-core'

/**
 * Returns the accessibility barriers of a page as it is shown, one per line. It checks contrast
 * (WCAG 2.2, 1.4.3), names of controls (4.1.2), the size of targets (2.5.8), headings and
 * landmarks (1.3.1), and overflow of the window width (1.4.10).
 */
export async function barriers(page: Page): Promise<string[]> {
  await page.evaluate('globalThis.__name = (fn) => fn') // code compiled by tsx calls it
  return page.evaluate(findBarriers)
}

/** Runs in the page, so it is self-contained. */
function findBarriers(): string[] {
  const found: string[] = []
  const canvas = document.createElement('canvas')
  canvas.width = canvas.height = 1
  const context = canvas.getContext('2d', { willReadFrequently: true }) as CanvasRenderingContext2D

  /** Blends CSS colors, the first one at the bottom, to red, green and blue. */
  function blend(colours: string[]): number[] {
    context.clearRect(0, 0, 1, 1)
    for (const colour of colours) {
      context.fillStyle = colour
      context.fillRect(0, 0, 1, 1)
    }
    return [...context.getImageData(0, 0, 1, 1).data].slice(0, 3)
  }

  function luminance(colour: number[]): number {
    const [red = 0, green = 0, blue = 0] = colour.map((value) => {
      const part = value / 255
      return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4
    })
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
  }

  function contrast(one: number[], other: number[]): number {
    const [dark = 0, light = 0] = [luminance(one), luminance(other)].sort((a, b) => a - b)
    return (light + 0.05) / (dark + 0.05)
  }

  function backgrounds(element: Element): string[] {
    const colours: string[] = []
    for (let at: Element | null = element; at; at = at.parentElement) {
      colours.unshift(getComputedStyle(at).backgroundColor)
    }
    return colours
  }

  function isShown(element: Element): boolean {
    const hidden = { checkOpacity: true, checkVisibilityCSS: true }
    return element.checkVisibility(hidden) && !element.closest('noscript') && !isForEars(element)
  }

  /** Whether an element is visually hidden, for screen readers only. */
  function isForEars(element: Element | null): boolean {
    for (let at = element; at; at = at.parentElement) {
      if (getComputedStyle(at).clipPath === 'inset(50%)') return true
    }
    return false
  }

  function nameOf(element: Element): string {
    const labelled = element.getAttribute('aria-labelledby')?.split(' ') ?? []
    const byId = labelled.map((id) => document.getElementById(id)?.textContent ?? '').join(' ')
    const labels = [...((element as HTMLInputElement).labels ?? [])].map((one) => one.textContent)
    const own = /^(BUTTON|A)$/.test(element.tagName) ? element.textContent : ''
    return (element.getAttribute('aria-label') || byId || labels.join(' ') || own || '').trim()
  }

  const describe = (element: Element): string =>
    `<${element.tagName.toLowerCase()}${element.id && ` id=${element.id}`} class="${element.className}"> ${element.textContent?.slice(0, 30)}`

  function checkText(element: Element, colour: string, what: string): void {
    const { fontSize, fontWeight } = getComputedStyle(element)
    const size = Number.parseFloat(fontSize)
    const isLarge = size >= 24 || (size >= 18.66 && Number(fontWeight) >= 700)
    const behind = backgrounds(element)
    const ratio = contrast(blend([...behind, colour]), blend(behind))
    if (ratio < (isLarge ? 3 : 4.5)) {
      found.push(`${what} with a contrast of ${ratio.toFixed(2)}: ${describe(element)}`)
    }
  }

  function checkContrast(): void {
    const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT)
    for (let text = texts.nextNode(); text; text = texts.nextNode()) {
      const element = text.parentElement as Element
      if (!text.textContent?.trim() || /^(SCRIPT|OPTION)$/.test(element.tagName)) continue
      if (isShown(element)) checkText(element, getComputedStyle(element).color, 'text')
    }
    for (const element of document.querySelectorAll(':placeholder-shown')) {
      checkText(element, getComputedStyle(element, '::placeholder').color, 'placeholder')
    }
  }

  function checkControls(): void {
    for (const element of document.querySelectorAll('a, button, input, select, textarea')) {
      if (!isShown(element)) continue
      const { width, height } = element.getBoundingClientRect()
      if (!nameOf(element)) found.push(`no name: ${describe(element)}`)
      if (width < 24 || height < 24) found.push(`${width} x ${height}: ${describe(element)}`)
      if (element.closest('[aria-hidden=true]')) found.push(`hidden control: ${describe(element)}`)
    }
    for (const image of document.querySelectorAll('img:not([alt])')) {
      found.push(`no alt: ${image.outerHTML}`)
    }
  }

  function checkStructure(): void {
    if (!document.documentElement.lang) found.push('no language')
    if (!document.title) found.push('no title')
    for (const tag of ['main', 'h1']) {
      const count = document.querySelectorAll(tag).length
      if (count !== 1) found.push(`${count} of ${tag}`)
    }
    const levels = [...document.querySelectorAll('h1, h2, h3')].map(
      ({ tagName }) => +tagName.slice(1),
    )
    if (levels.some((level, i) => level > (levels[i - 1] ?? 0) + 1)) found.push(`levels ${levels}`)
    const ids = [...document.querySelectorAll('[id]')].map(({ id }) => id)
    for (const id of ids.filter((id, i) => ids.indexOf(id) !== i))
      found.push(`id ${id} comes twice`)
    for (const item of document.querySelectorAll('li')) {
      if (!item.parentElement?.matches('ul:not([role]), ol:not([role])'))
        found.push('li without list')
    }
  }

  /** Elements that scroll sideways may be wider. */
  function checkWidth(): void {
    for (const element of document.querySelectorAll('body *')) {
      if (!isShown(element) || element.closest('aside ul')) continue
      const { left, right } = element.getBoundingClientRect()
      if (left < -1 || right > innerWidth + 1)
        found.push(`${left} to ${right}: ${describe(element)}`)
    }
  }

  checkContrast()
  checkControls()
  checkStructure()
  checkWidth()
  return found
}
