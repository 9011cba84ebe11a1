// Prints each relative link of a Markdown file of a packed package that leads to no file or heading of
// it, and exits with 1 if there is one: node scripts/package-links.mjs <folder of the package>
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { argv } from 'node:process'

const root = argv[2] ?? '.'
const pages = readdirSync(root, { recursive: true, encoding: 'utf8' })
  .filter((name) => name.endsWith('.md') && !name.includes('node_modules'))
  .map((name) => join(root, name))

const withoutBlocks = (text) => text.replace(/^```[\s\S]*?^```/gm, '')

/** The anchors of a page, as GitHub makes them. */
const anchorsOf = (file) =>
  new Set(
    [...withoutBlocks(readFileSync(file, 'utf8')).matchAll(/^#{1,6} (.+)$/gm)].map(([, title]) =>
      title
        .trim()
        .toLowerCase()
        .replace(/[^\p{L}\p{N}\s_-]/gu, '')
        .replaceAll(' ', '-'),
    ),
  )

let links = 0
let dead = 0
for (const page of pages) {
  const text = withoutBlocks(readFileSync(page, 'utf8')).replace(/`[^`\n]*`/g, '')
  for (const [, link] of text.matchAll(/\]\(([^)\s]+)\)/g)) {
    if (/^[a-z][a-z+.-]*:/i.test(link)) continue
    links++
    const [path, anchor] = decodeURIComponent(link).split('#')
    const file = path === '' ? page : join(dirname(page), path)
    const there =
      existsSync(file) && (!anchor || !file.endsWith('.md') || anchorsOf(file).has(anchor))
    if (there) continue
    dead++
    console.error(`${relative(root, page)}: ${link}`)
  }
}
console.log(`${links} relative links in ${pages.length} packed pages, ${dead} of them dead`)
if (dead > 0) process.exitCode = 1
