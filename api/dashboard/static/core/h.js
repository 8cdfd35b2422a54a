/**
 * Elements from functions, and lists that are changed in place.
 *
 * Nothing here takes markup: strings become text, whatever is in them.
 */

/** @typedef {Node | string | number | null | undefined | false | Child[]} Child */

const SVG = "http://www.w3.org/2000/svg";
const PROPERTIES = new Set(["value", "checked", "disabled", "hidden", "selected", "readOnly"]);

/**
 * An element.
 * @param {string} tag
 * @param {Record<string, any>} [props] attributes; `on` holds listeners by event, `class` may be a
 *   list; false, null and undefined leave an attribute out
 * @param {...Child} children
 * @returns {HTMLElement}
 */
export function h(tag, props = {}, ...children) {
  return /** @type {HTMLElement} */ (fill(document.createElement(tag), props, children));
}

/**
 * An element of a drawing.
 * @param {string} tag
 * @param {Record<string, any>} [props]
 * @param {...Child} children
 * @returns {SVGElement}
 */
export function s(tag, props = {}, ...children) {
  return /** @type {SVGElement} */ (fill(document.createElementNS(SVG, tag), props, children));
}

/** Words in which code stands between backticks. @param {string} text @returns {Child[]} */
export function explained(text) {
  return text.split("`").map((part, i) => (i % 2 ? h("code", {}, part) : part));
}

/** @param {Element} element @param {Record<string, any>} props @param {Child[]} children */
function fill(element, props, children) {
  for (const [name, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "on") {
      for (const [event, listener] of Object.entries(value)) element.addEventListener(event, listener);
    } else if (name === "class") {
      element.setAttribute("class", Array.isArray(value) ? value.filter(Boolean).join(" ") : value);
    } else if (PROPERTIES.has(name)) {
      /** @type {any} */ (element)[name] = value;
    } else {
      element.setAttribute(name, value === true ? "" : String(value));
    }
  }
  append(element, children);
  return element;
}

/** @param {Element} parent @param {Child} child */
function append(parent, child) {
  if (Array.isArray(child)) for (const each of child) append(parent, each);
  else if (child instanceof Node) parent.append(child);
  else if (child !== null && child !== undefined && child !== false) parent.append(String(child));
}

/**
 * Put other children in the place of those there are.
 * @param {Element} parent
 * @param {...Child} children
 */
export function replace(parent, ...children) {
  parent.replaceChildren();
  append(parent, children);
}

/**
 * Change a text, if it is another one: an unchanged node keeps selection and costs no layout.
 * @param {Node} node
 * @param {string} text
 */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/**
 * Make the children of an element those of a list: what is there already is kept, changed and moved.
 * @template T
 * @param {Element} parent with no other children
 * @param {T[]} items
 * @param {(item: T) => string} key
 * @param {(item: T) => {element: Element, update(item: T): void}} create
 */
export function reconcile(parent, items, key, create) {
  /** @type {Map<string, {element: Element, update(item: any): void}>} */
  const before = /** @type {any} */ (parent).carotParts ?? new Map();
  const after = new Map();
  let place = parent.firstElementChild;
  for (const item of items) {
    const name = key(item);
    const part = before.get(name) ?? create(item);
    part.update(item);
    before.delete(name);
    after.set(name, part);
    if (part.element === place) place = place.nextElementSibling;
    else parent.insertBefore(part.element, place);
  }
  for (const part of before.values()) part.element.remove();
  /** @type {any} */ (parent).carotParts = after;
}
