// The page: a list of files, which are uploaded as they are and read by links.
const files = document.getElementById("files");
const form = document.getElementById("upload");
const told = document.getElementById("told");
const at = (name) => "api/" + encodeURIComponent(name);

function row(file) {
  const line = document.createElement("tr");
  const link = document.createElement("a");
  link.href = at(file.name);
  link.download = file.name;
  link.textContent = file.name;
  const remove = document.createElement("button");
  remove.type = "button";
  remove.textContent = "remove";
  remove.onclick = () => change(fetch(at(file.name), { method: "DELETE" }), "removed " + file.name);
  const cells = [link, file.type, file.size.toLocaleString(), file.stored, remove];
  for (const content of cells) line.insertCell().append(content);
  return line;
}

async function show() {
  const answer = await fetch("api/");
  files.replaceChildren(...(await answer.json()).files.map(row));
}

async function change(call, words) {
  const answer = await call;
  told.textContent = answer.ok ? words : (await answer.json()).message;
  await show();
}

async function upload(chosen) {
  for (const file of chosen) {
    told.textContent = "uploading " + file.name + " ...";
    const type = file.type || "application/octet-stream";
    const call = fetch(at(file.name), { method: "PUT", body: file, headers: { "Content-Type": type } });
    await change(call, "stored " + file.name);
  }
}

document.getElementById("chosen").onchange = (event) => upload(event.target.files);
form.ondragover = (event) => { event.preventDefault(); form.classList.add("over"); };
form.ondragleave = () => form.classList.remove("over");
form.ondrop = (event) => {
  event.preventDefault();
  form.classList.remove("over");
  upload(event.dataTransfer.files);
};
show();
