// The layout of docs/reference/api: a plugin of TypeDoc with a theme and a router of typedoc-plugin-markdown.
// Signatures and types are the text of lib/, as its readers see it; TypeDoc resolves the names and the comments.
import { Converter, ReflectionKind } from 'typedoc'
import { MarkdownTheme, MarkdownThemeContext, ModuleRouter } from 'typedoc-plugin-markdown'

/** What samples call an object of a type: the headings of its methods begin with it. */
const RECEIVERS = {
  Adapter: 'adapter',
  AdapterEvents: 'events',
  AdapterLink: 'link',
  AdapterSubject: 'subject',
  AdapterTest: 'test',
  Audience: 'audience',
  ClientOf: 'client',
  ClientStream: 'stream',
  Connection: 'connection',
  ContextWs: 'ctx.ws',
  EchoingLink: 'link',
  Emitter: 'emitter',
  EmitterAudience: 'audience',
  FakeServerOf: 'server',
  Hub: 'hub',
  Message: 'message',
  MessagesOf: 'messages',
  OpenMessages: 'openMessages',
  PublishingClient: 'client',
  RedisClient: 'client',
  StandardSchema: 'schema',
  TestApp: 'test',
  TestSocket: 'socket',
  WebSocketLike: 'webSocket',
}
/** Public aliases, and the interfaces with their members. */
const BEHIND = { Client: 'ClientOf', FakeServer: 'FakeServerOf', Messages: 'MessagesOf' }
const CLASSES = ReflectionKind.Class | ReflectionKind.Interface
/** The order on a page: what is called or constructed, what has methods, then all other types. */
const ORDER = [
  (one) => one.kindOf(ReflectionKind.Function),
  (one) => one.kindOf(ReflectionKind.Class),
  (one) => one.name in BEHIND || one.name in RECEIVERS,
  () => true,
]

/** By reflection: the text of the source, and the file of `lib/`. */
const texts = new WeakMap()
const files = new WeakMap()

/**
 * @param {{ root: string, notice: string, tables: Record<string, { title: string, link: string }> }} config
 * `tables`: the properties that another page lists, by file and name
 */
export function referencePlugin(config) {
  return (app) => {
    app.renderer.defineTheme(
      'reference',
      class extends MarkdownTheme {
        getRenderContext(page) {
          return new ReferenceContext(this, page, this.application.options, config)
        }
      },
    )
    app.renderer.defineRouter('reference', ReferenceRouter)
    app.converter.on(Converter.EVENT_CREATE_SIGNATURE, (_context, signature, declaration) => {
      const ours = declaration?.getSourceFile().fileName.startsWith(`${config.root}lib/`)
      if (ours) texts.set(signature, signatureText(signature, declaration))
    })
    app.converter.on(Converter.EVENT_CREATE_DECLARATION, (context, reflection) => {
      const [declaration] = context.getSymbolFromReflection(reflection)?.declarations ?? []
      if (!declaration) return
      files.set(reflection, declaration.getSourceFile().fileName.slice(config.root.length))
      const alias = reflection.kindOf(ReflectionKind.TypeAlias)
      const text = alias ? sourceOf(declaration) : declaration.type && sourceOf(declaration.type)
      if (text) texts.set(reflection, text.replace(/^export /, ''))
    })
  }
}

function signatureText(signature, declaration) {
  const start = declaration.name?.getStart() ?? declaration.getStart()
  const text = sourceOf(declaration, start, declaration.body?.getStart()).replace(/[\s;]+$/, '')
  if (!signature.kindOf(ReflectionKind.ConstructorSignature)) return text
  return text.replace(/^constructor/, `new ${signature.parent.parent.name}`)
}

/** Returns the text of a node without the indentation of its first line, and without orders to the linter. */
function sourceOf(node, start = node.getStart(), end = node.getEnd()) {
  const { text } = node.getSourceFile()
  const line = text.lastIndexOf('\n', start) + 1
  const depth = text.slice(line).search(/\S/)
  return text
    .slice(start, end)
    .replace(/^ *\/\/ biome-ignore .*\n/gm, '')
    .replaceAll(`\n${' '.repeat(depth)}`, '\n')
}

/** Returns the heading of a reflection; undefined for a row of a table. */
function titleOf(model) {
  const { name, parent } = model
  if (parent?.kindOf(ReflectionKind.Module)) {
    if (model.kindOf(ReflectionKind.Function)) return `${name}()`
    // Anchors are in lower case, without signs: of `Protocol` and `protocol()`, of `HubStatus` and `hub.status()`.
    const others = parent.children
      .filter((one) => one !== model)
      .flatMap((one) => [one.name, ...(one.children ?? []).map((child) => titleOf(child) ?? '')])
    const twin = others.some((one) => anchorOf(one) === anchorOf(name))
    return twin ? `${name} (type)` : name
  }
  if (!model.kindOf(ReflectionKind.Method) || !parent?.kindOf(CLASSES)) return undefined
  const receiver = RECEIVERS[parent.name] ?? parent.name
  const symbol = /^\[(.*)\]$/.exec(name)?.[1]
  return symbol ? `${receiver}[Symbol.${symbol}]()` : `${receiver}.${name}()`
}

/** The anchor that Markdown makes of a heading. */
function anchorOf(title) {
  const kept = title.toLowerCase().replace(/[^\p{L}\p{N}\s_-]/gu, '')
  return kept.replaceAll(' ', '-')
}

class ReferenceRouter extends ModuleRouter {
  /** Gives each declaration with a heading the anchor that Markdown makes of that heading. */
  buildAnchors(target, page) {
    const title = titleOf(target)
    if (title) {
      let module = target
      while (!module.kindOf(ReflectionKind.Module)) module = module.parent
      const anchor = anchorOf(title)
      this.fullUrls.set(target, `${this.fullUrls.get(module)}#${anchor}`)
      this.anchors.set(target, anchor)
    }
    if (!target.kindOf(CLASSES)) return
    target.traverse((child) => {
      this.buildAnchors(child, page)
      return true
    })
  }
}

class ReferenceContext extends MarkdownThemeContext {
  constructor(theme, page, options, config) {
    super(theme, page, options)
    this.config = config
    this.templates.reflection = ({ model }) => {
      const parts = model.kindOf(ReflectionKind.Project) ? this.index(model) : this.module(model)
      return [config.notice, ...parts].filter(Boolean).join('\n\n')
    }
  }

  index(project) {
    const modules = project.children.map((module) => {
      const title = /^# (.*)/.exec(this.text(module.comment.summary))[1]
      const names = this.namesOf(module).map((one) => `- ${this.linkTo(one)}: ${this.brief(one)}`)
      return `## ${title}\n\nPage: [${title}](${this.urlTo(module)}).\n\n${names.join('\n')}`
    })
    return [
      '# API reference',
      'All exports of all entry points, made from the comments in `lib/`. [Options](../options.md) and [error codes](../errors.md) have their own pages.',
      ...modules,
    ]
  }

  module(module) {
    return [
      this.text(module.comment.summary),
      ...this.namesOf(module).flatMap((one) => [`## ${titleOf(one)}`, ...this.section(one)]),
    ]
  }

  /** The names of a page, in its order. */
  namesOf(module) {
    const shown = module.children.filter(
      ({ name }) => name !== 'default' && !Object.values(BEHIND).includes(name),
    )
    const rank = (one) => ORDER.findIndex((fits) => fits(targetOf(one)))
    return shown.toSorted((a, b) => rank(a) - rank(b))
  }

  section(model) {
    if (model.isReference())
      return [`${this.brief(model)} See ${this.linkTo(model.getTargetReflection())}.`]
    const behind = model.parent.children.find(({ name }) => name === BEHIND[model.name])
    if (behind) return [...this.alias(model), ...this.members(behind)]
    if (model.kindOf(CLASSES)) return this.classLike(model)
    return model.signatures ? this.signatures(model) : this.alias(model)
  }

  alias(model) {
    const inner = model.parent.name === 'types'
    const code = model.kindOf(ReflectionKind.TypeAlias) && !inner ? texts.get(model) : ''
    return [
      code && fenced(code),
      this.text(model.comment?.summary),
      this.parameters(model.typeParameters),
      this.tableElsewhere(model),
      ...this.tags(model.comment),
      this.seeAlso(model, [code]),
    ]
  }

  classLike(model) {
    const bases = (model.extendedTypes ?? []).filter(
      (type) =>
        type.name !== 'Omit' &&
        (type.package !== 'koaws' || (type.reflection && this.router.hasUrl(type.reflection))),
    )
    return [
      bases.length > 0
        ? `Extends ${bases.map((type) => this.partials.someType(type)).join(', ')}.`
        : '',
      this.text(model.comment?.summary),
      this.parameters(model.typeParameters),
      ...this.tags(model.comment),
      ...this.members(model),
    ]
  }

  members(model) {
    const own = (model.children ?? []).filter((one) => !this.isShownElsewhere(one))
    const of = (kind) => own.filter((one) => one.kindOf(kind))
    const elsewhere = this.tableElsewhere(model)
    const values = own.filter(
      (one) => !one.kindOf(ReflectionKind.Method | ReflectionKind.Constructor),
    )
    return [
      ...of(ReflectionKind.Constructor).flatMap((one) => this.signatures(one)),
      ...this.signatures(model),
      elsewhere || this.properties(values),
      elsewhere ? '' : this.seeAlso(model, values.map(typeOf)),
      ...of(ReflectionKind.Method).flatMap((one) => [
        `### ${titleOf(one)}`,
        ...this.signatures(one),
      ]),
    ]
  }

  /** Whether a member is inherited of a type that has a section of its own. */
  isShownElsewhere(member) {
    const base = (member.inheritedFrom ?? member.signatures?.[0]?.inheritedFrom)?.reflection
    return (
      base !== undefined &&
      this.router.hasUrl(base.parent.kindOf(CLASSES) ? base.parent : base.parent.parent)
    )
  }

  tableElsewhere(model) {
    const table = this.config.tables[`${files.get(model)} ${model.name}`]
    return table ? `Properties: [${table.title}](${table.link}).` : ''
  }

  properties(values) {
    if (values.length === 0) return ''
    const defaults = values.some((one) => commentOf(one)?.getTag('@default'))
    const head = ['Property', 'Type', ...(defaults ? ['Default'] : []), 'Meaning']
    const receiver = RECEIVERS[values[0].parent.name]
    const rows = values.map((one) => {
      const comment = commentOf(one)
      const name = receiver ? `${receiver}.${one.name}` : one.name
      const fallback = this.text(comment?.getTag('@default')?.content)
      return [
        `\`${name}${one.flags.isOptional ? '?' : ''}\``,
        `\`${typeOf(one)}\``,
        ...(defaults ? [defaultCell(fallback)] : []),
        this.text(comment?.summary),
      ]
    })
    const line = (cells) =>
      `| ${cells.map((cell) => cell.replace(/\s+/g, ' ').replaceAll('|', '\\|')).join(' | ')} |`
    return [line(head), `|${head.map(() => '---|').join('')}`, ...rows.map(line)].join('\n')
  }

  /** Overloads with one comment share it. */
  signatures(model) {
    const groups = []
    for (const call of (model.signatures ?? []).filter((one) => texts.has(one))) {
      const comment = this.described(call).join('\n\n')
      const last = groups.at(-1)
      if (last?.comment === comment) last.codes.push(texts.get(call))
      else groups.push({ comment, codes: [texts.get(call)] })
    }
    return groups.flatMap(({ comment, codes }) => [
      fenced(codes.join('\n')),
      comment,
      this.seeAlso(model, codes),
    ])
  }

  described(signature) {
    const { comment, parameters = [], typeParameters } = signature
    const isNew = signature.kindOf(ReflectionKind.ConstructorSignature)
    return [
      this.text(comment?.summary),
      isNew ? '' : this.parameters(typeParameters),
      this.parameters(parameters),
      ...this.tags(comment),
    ].filter(Boolean)
  }

  /** The parameters that have a comment; their types are in the signature. */
  parameters(some = []) {
    const items = some.filter(({ comment }) => comment?.summary.length > 0)
    return items
      .map((one) => `- \`${one.name}\`: ${line(this.text(one.comment.summary))}`)
      .join('\n')
  }

  tags(comment) {
    const of = (name) =>
      (comment?.blockTags ?? [])
        .filter(({ tag }) => tag === name)
        .map(({ content }) => this.text(content))
    return [
      ...of('@default').map((text) => `Default: ${defaultCell(text)}.`),
      ...of('@returns').map((text) => `**Returns** ${sentence(text)}`),
      ...of('@throws').map((text) => `**Throws** ${sentence(this.withErrorLink(text))}`),
      ...of('@example').map((text) => `**Example**\n\n${text}`),
    ]
  }

  withErrorLink(text) {
    const [name = ''] = /^\w+/.exec(text) ?? []
    const found = this.byName(name)
    return found
      ? text.replace(name, `[\`${name}\`](${this.urlTo(found)})`)
      : text.replace(/^\w*Error\b/, '`$&`')
  }

  /** Links to the types that a text of code names. */
  seeAlso(model, codes) {
    const names = new Set(codes.join(' ').match(/\b[A-Z]\w+/g))
    let owner = model
    while (!owner.parent.kindOf(ReflectionKind.Module)) owner = owner.parent
    const links = [...names]
      .map((name) => this.byName(name))
      .filter((one) => one && one !== owner)
      .map((one) => this.linkTo(one))
    return links.length > 0 ? `See ${links.join(', ')}.` : ''
  }

  /** The public type of a name: that of this page first. */
  byName(name) {
    const { project } = this.page
    const here = this.page.model.children?.find((one) => one.name === name)
    const found =
      here ?? project.children.flatMap(({ children }) => children).find((one) => one.name === name)
    const target = found && targetOf(found)
    return target && !Object.values(BEHIND).includes(name) ? target : undefined
  }

  linkTo(model) {
    return `[\`${titleOf(model).replace(/ \(type\)$/, '')}\`](${this.urlTo(model)})`
  }

  /** The first sentence of a comment. */
  brief(model) {
    const target = targetOf(model)
    const comment = target.comment ?? target.signatures?.[0]?.comment
    const text = line(this.text(comment?.summary))
    return /^.*?\.(?= [A-Z`]|$)/.exec(text)?.[0] ?? text
  }

  text(parts) {
    return parts ? this.helpers.getCommentParts(parts).trim() : ''
  }
}

function targetOf(model) {
  return model.isReference() ? model.getTargetReflectionDeep() : model
}

function commentOf(model) {
  return model.comment ?? model.getSignature?.comment
}

/** Returns the type of a property on one line; a `?` behind its name says that it may be undefined. */
function typeOf(model) {
  const source = texts.get(model.getSignature ?? model) ?? ''
  const text = line(source.replace(/([^{;,|(])\n\s*(?=readonly|\w+\??:)/g, '$1; ')).replace(
    /^\w+\(\): /,
    '',
  )
  const bare = text.replace(/ \| undefined$/, '')
  if (!model.flags.isOptional || bare === text) return text
  return bare.replace(/^\((\(.*\) => .*)\)$/, '$1')
}

/** A literal is code, words are words; TypeDoc fences both. */
function defaultCell(text) {
  if (text === '') return '–'
  const bare = text.replace(/^```\w*\n|\n```$/g, '')
  const literal = /^('[^']*'|true|false|[\d_,]*\d|[[{][^}\]]*[}\]])(?!\w)/.exec(bare)?.[0] ?? ''
  return literal ? `\`${literal}\`${bare.slice(literal.length)}` : bare
}

function fenced(text) {
  return `\`\`\`ts\n${text}\n\`\`\``
}

function line(text) {
  return text.replace(/\s+/g, ' ')
}

function sentence(text) {
  return /[.:!?`]$/.test(text) && !text.endsWith('`') ? text : `${text}.`
}
