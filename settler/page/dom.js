// Making elements. Text is always text: nothing that the settler tells is ever taken for markup.

const fill = (node, attributes, children) => {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) node.setAttribute(name, value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return node;
};

/** An element of HTML. */
export const html = (tag, attributes = {}, ...children) => fill(document.createElement(tag), attributes, children);

/** An element of SVG. */
export const svg = (tag, attributes = {}, ...children) =>
  fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);

/** The element with this id. */
export const at = (id) => document.getElementById(id);

/** What is shown instead of a table or a plot. */
export const state = (text, kind = "") => html("p", { class: `state ${kind}` }, text);

/** Marks one of a group of buttons as the chosen one. */
export const choose = (group, attribute, value) => {
  for (const button of group.querySelectorAll("button")) {
    button.setAttribute("aria-pressed", String(button.dataset[attribute] === value));
  }
};

/** An address or a hash, shortened in the middle; pressed, it is copied whole. */
export const copyable = (text) => {
  const short = `${text.slice(0, 8)}…${text.slice(-6)}`;
  const button = html("button", { type: "button", class: "copy mono", title: text, "aria-label": `Copy ${text}` }, short);
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text);
      button.dataset.copied = "";
      setTimeout(() => delete button.dataset.copied, 1200);
    } catch {
      // Over plain HTTP from another machine a browser lets no page copy: the whole text is selected instead.
      button.textContent = text;
      getSelection().selectAllChildren(button);
    }
  });
  return button;
};
