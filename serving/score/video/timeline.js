// A click on a chart moves the video there, and a line in all charts shows where it plays.
const video = document.querySelector("video");
const plots = [...document.querySelectorAll(".plot")];
const duration = Number(document.querySelector("main").dataset.duration);
const cursors = plots.map((plot) => plot.appendChild(Object.assign(document.createElement("i"), { className: "cursor" })));
const show = () => cursors.forEach((cursor) => (cursor.style.left = `${(100 * video.currentTime) / duration}%`));
for (const plot of plots) {
  plot.dataset.seek = "";
  plot.addEventListener("click", (event) => {
    const box = plot.getBoundingClientRect();
    video.currentTime = ((event.clientX - box.left) / box.width) * duration;
  });
}
video.addEventListener("timeupdate", show);
show();
